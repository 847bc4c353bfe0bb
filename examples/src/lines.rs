//! Reading of files by lines, which may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// First bytes of every gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Returns the lines of the file at `path`, unpacked if it is compressed with gzip.
pub(crate) fn read(path: &Path) -> Result<io::Lines<Box<dyn BufRead + Send>>, Error> {
    let open = || {
        let mut file = BufReader::new(File::open(path)?);
        let reader: Box<dyn BufRead + Send> = if file.fill_buf()?.starts_with(&GZIP) {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        io::Result::Ok(reader.lines())
    };
    open().map_err(|e| Error::io(path, e))
}

/// Returns the lines of a file that have text.
///
/// # Errors
///
/// The file cannot be read, or has no such line.
pub fn texts(path: &Path) -> Result<Vec<String>, Error> {
    let lines = read(path)?.collect::<io::Result<Vec<_>>>().map_err(|e| Error::io(path, e))?;
    let texts: Vec<String> = lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if texts.is_empty() { Err(Error::content(path, "there is no line with text")) } else { Ok(texts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_lines_that_are_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tenders.txt");
        let found = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            texts(&path).map_err(|error| error.to_string())
        };
        assert_eq!(found(b"a roof\r\n\n  a door\n").unwrap(), ["a roof", "a door"]);
        for (content, part) in
            [(b" \n".as_slice(), "no line with text"), (b"\xff\xfe", "UTF-8"), (b"\x1f\x8b\x00", "end of file")]
        {
            let error = found(content).unwrap_err();
            assert!(error.contains("tenders.txt: ") && error.contains(part), "{error}");
        }
        assert!(texts(directory.path()).is_err() && texts(&directory.path().join("none")).is_err());
    }
}
