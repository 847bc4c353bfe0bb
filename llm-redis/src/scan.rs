//! Scan of all keys with one name.

use crate::{Command, Error, Key, Redis, Value};

/// Page of a scan, returned by [`Redis::scan`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScanPage {
    /// Keys of the page. A scan may return a key more than once.
    pub keys: Vec<Key>,
    /// Cursor of the next page; `None` if this is the last page.
    pub cursor: Option<String>,
}

/// Position of a scan: the current node, identified by its first slot, and the cursor within it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    slot: u16,
    position: String,
}

/// Cursor with which a scan of a node begins, and which the node returns after its last key.
const START: &str = "0";

impl Redis {
    /// Returns a page of the keys with a name, under all hash tags. [`HashTag::key`](crate::HashTag::key) creates such
    /// keys.
    ///
    /// A scan begins without a cursor, and continues with the cursor of the previous page. A page holds about `count`
    /// keys, but may be empty or slightly larger. A key that exists throughout the scan is returned at least once. In a
    /// Cluster, the scan visits one node after the other. It may miss keys in slots that are moved during the scan.
    ///
    /// # Errors
    ///
    /// The errors of [`Redis::run`], and [`InvalidSetting`](crate::ErrorKind::InvalidSetting) if the cursor is invalid.
    ///
    /// ```
    /// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
    /// let mut cursor = None;
    /// loop {
    ///     let page = redis.scan("spent", cursor.as_deref(), 100).await?;
    ///     for key in page.keys {
    ///         println!("{}", key.as_str());
    ///     }
    ///     cursor = page.cursor;
    ///     if cursor.is_none() {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn scan(&self, name: &'static str, cursor: Option<&str>, count: usize) -> Result<ScanPage, Error> {
        let from = match cursor {
            Some(text) => Cursor::parse(text)
                .ok_or_else(|| Error::setting("the cursor of the scan is invalid; begin again without a cursor"))?,
            None => Cursor { slot: 0, position: START.to_owned() },
        };
        let mut scan =
            Command::without_key("SCAN").arg(&from.position).arg("MATCH").arg(self.key_space().pattern(name));
        scan = scan.arg("COUNT").arg(count.max(1).to_string());
        scan.slot = self.is_cluster().then_some(from.slot);
        let unexpected = || Error::unexpected("a cursor and keys", "something else");
        let [position, found] = <[Value; 2]>::try_from(self.run(scan).await?.into_list()?).map_err(|_| unexpected())?;
        let mut keys = Vec::new();
        for key in found.into_list()? {
            let key = key.into_bytes()?.and_then(|name| String::from_utf8(name.into()).ok());
            keys.extend(key.and_then(|key| self.key_space().parse(&key)));
        }
        let position = position.into_bytes()?.and_then(|position| String::from_utf8(position.into()).ok());
        let position = position.ok_or_else(unexpected)?;
        let next = match (position == START, self.is_cluster()) {
            (false, _) => Some(Cursor { slot: from.slot, position }),
            (true, false) => None,
            (true, true) => self.node_after(from.slot).await?.map(|slot| Cursor { slot, position }),
        };
        Ok(ScanPage { keys, cursor: next.map(|next| next.encode()) })
    }

    /// Returns the first slot of the node after the one whose first slot is `slot`; `None` after the last node. Nodes
    /// are ordered by their first slots.
    pub(crate) async fn node_after(&self, slot: u16) -> Result<Option<u16>, Error> {
        let ranges = self.run(Command::without_key("CLUSTER").arg("SLOTS")).await?.into_list()?;
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
    fn parse(text: &str) -> Option<Self> {
        let (slot, position) = text.split_once('-')?;
        let is_number = !position.is_empty() && position.bytes().all(|byte| byte.is_ascii_digit());
        let slot = slot.parse().ok().filter(|slot| *slot < 16_384)?;
        is_number.then(|| Self { slot, position: position.to_owned() })
    }

    fn encode(&self) -> String {
        format!("{}-{}", self.slot, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_cursor_round_trips_and_rejects_others() {
        let cursor = Cursor { slot: 5461, position: "1234567890123456789012".to_owned() };
        assert_eq!(Cursor::parse(&cursor.encode()), Some(cursor));
        for wrong in ["", "-", "1", "1-", "x-1", "16384-1", "1-x", "1-1 COUNT 9"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
