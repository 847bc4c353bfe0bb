//! Lines of files that may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines of the file at `path`, unpacked where it is compressed with gzip.
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
