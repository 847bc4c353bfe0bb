//! A walk over the keys of one name.

use crate::{Command, Error, Key, Redis, Value};

/// Some of the keys of one name; see [`Redis::scan`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScanPage {
    /// The keys. One may come twice.
    pub keys: Vec<Key>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<String>,
}

/// How far a walk has come: the node, by the first slot that it serves, and its own cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    slot: u16,
    place: String,
}

/// What a cursor is at the beginning and at the end of a node.
const ENDS: &str = "0";

impl Redis {
    /// Keys that [`HashTag::key`](crate::HashTag::key) makes of a name, in whatever place, after a point in the walk; about
    /// `count`, none at all or a few more. What is there from the beginning to the end of a walk comes at least once. In a
    /// Cluster the walk goes from node to node; slots that move meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// As [`Redis::run`]; [`InvalidSetting`](crate::ErrorKind::InvalidSetting) if the walk cannot go on from `after`.
    pub async fn scan(&self, name: &'static str, after: Option<&str>, count: usize) -> Result<ScanPage, Error> {
        let cursor = match after {
            Some(text) => {
                Cursor::read(text).ok_or_else(|| Error::setting("this is no point to go on from: begin anew"))?
            }
            None => Cursor { slot: 0, place: ENDS.to_owned() },
        };
        let mut scan = Command::bare("SCAN").arg(&cursor.place).arg("MATCH").arg(self.key_space().pattern(name));
        scan = scan.arg("COUNT").arg(count.max(1).to_string());
        scan.slot = self.is_cluster().then_some(cursor.slot);
        let wrong = || Error::unexpected("a cursor and keys", "something else");
        let [place, found] = <[Value; 2]>::try_from(self.run(scan).await?.into_list()?).map_err(|_| wrong())?;
        let mut keys = Vec::new();
        for key in found.into_list()? {
            let key = key.into_bytes()?.and_then(|name| String::from_utf8(name.into()).ok());
            keys.extend(key.and_then(|key| self.key_space().read(&key)));
        }
        let place = place.into_bytes()?.and_then(|place| String::from_utf8(place.into()).ok()).ok_or_else(wrong)?;
        let next = match (place == ENDS, self.is_cluster()) {
            (false, _) => Some(Cursor { slot: cursor.slot, place }),
            (true, false) => None,
            (true, true) => self.node_after(cursor.slot).await?.map(|slot| Cursor { slot, place }),
        };
        Ok(ScanPage { keys, cursor: next.map(|next| next.write()) })
    }

    /// The first slot of the node that comes next, by their first slots.
    async fn node_after(&self, slot: u16) -> Result<Option<u16>, Error> {
        let ranges = self.run(Command::bare("CLUSTER").arg("SLOTS")).await?.into_list()?;
        let mut nodes: Vec<(Value, u16)> = Vec::new();
        for range in ranges {
            let mut range = range.into_list()?.into_iter();
            let (first, _, primary) = (range.next(), range.next(), range.next());
            let (Some(first), Some(primary)) = (first, primary) else { continue };
            let first = u16::try_from(first.into_int()?).map_err(|_| Error::unexpected("a slot", "another number"))?;
            match nodes.iter_mut().find(|(known, _)| *known == primary) {
                Some((_, lowest)) => *lowest = first.min(*lowest),
                None => nodes.push((primary, first)),
            }
        }
        Ok(nodes.into_iter().map(|(_, first)| first).filter(|first| *first > slot).min())
    }
}

impl Cursor {
    fn read(text: &str) -> Option<Self> {
        let (slot, place) = text.split_once('-')?;
        let is_number = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        let slot = slot.parse().ok().filter(|slot| *slot < 16_384)?;
        is_number.then(|| Self { slot, place: place.to_owned() })
    }

    fn write(&self) -> String {
        format!("{}-{}", self.slot, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor { slot: 5461, place: "1234567890123456789012".to_owned() };
        assert_eq!(Cursor::read(&cursor.write()), Some(cursor));
        for wrong in ["", "-", "1", "1-", "x-1", "16384-1", "1-x", "1-1 COUNT 9"] {
            assert_eq!(Cursor::read(wrong), None, "{wrong}");
        }
    }
}
