//! Walks over all entries: to list, copy, forget and clear them.

use bytes::Bytes;
use llm_redis::{Command, Key as Spot};

use super::{
    scripts::COPY,
    shared::{ENTRY, PAGE, Shared, failed},
    value::NAME_AT,
};
use crate::{
    Partition, StoreError, Tag,
    generations::Moment,
    store::{Cursor, Name, OWNER_BYTES, Page, Record},
};

impl Shared {
    pub(super) async fn page(&self, after: Option<&Cursor>, most: usize) -> Result<Page, StoreError> {
        self.sync(Some(self.patience)).await.map_err(|error| failed(&error))?;
        let mut after = after.map(|cursor| cursor.as_str().to_owned());
        loop {
            let scanned = self.redis.scan(ENTRY, after.as_deref(), most).await.map_err(|error| failed(&error))?;
            if scanned.keys.is_empty() && scanned.cursor.is_some() {
                after = scanned.cursor;
                continue;
            }
            let mut page = Page { next: scanned.cursor.map(Cursor::new), ..Page::default() };
            for found in self.values(&scanned.keys, Command::get).await?.into_iter().flatten() {
                match self.listed(&found) {
                    Some(listed) => page.found.push(listed),
                    None => page.spoilt.extend(super::value::read(&found).map(|(name, _)| name)),
                }
            }
            return Ok(page);
        }
    }

    pub(super) async fn copy(&self, records: Vec<Record>, begun: Moment) -> Result<u64, StoreError> {
        let mut copied = 0;
        for mut record in records {
            // It is good now, as whoever has it says; when its call began by that store's time says nothing here.
            record.source.begun = begun;
            let Some((name, value)) = self.value(&record) else { continue };
            let call = COPY.with_keys(&[&self.spot(&name)]).arg(value).arg(self.expiry(&record.life));
            let stored = self
                .redis
                .run_with_timeout(self.patience, call)
                .await
                .and_then(llm_redis::Value::into_int)
                .map_err(|error| failed(&error))?;
            copied += u64::from(stored == 1);
        }
        Ok(copied)
    }

    pub(super) async fn remove_named(&self, names: &[Name]) -> Result<u64, StoreError> {
        let spots: Vec<Spot> = names.iter().map(|name| self.spot(name)).collect();
        self.remove_all(&spots).await
    }

    /// Removes what is a tenant's, and what he bought for a scope, or everything.
    pub(super) async fn sweep(&self, tenant: Option<&str>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let scanned = self.redis.scan(ENTRY, after.as_deref(), PAGE).await.map_err(|error| failed(&error))?;
            let spots = match tenant {
                Some(tenant) => self.his(scanned.keys, tenant).await?,
                None => scanned.keys,
            };
            self.remove_all(&spots).await?;
            after = scanned.cursor;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Those entries that are a tenant's by their name, or, of shared ones, by their tags.
    async fn his(&self, spots: Vec<Spot>, tenant: &str) -> Result<Vec<Spot>, StoreError> {
        let (owner, tag) = (self.codec.owner(&Partition::tenant(tenant)), Tag::tenant(tenant));
        let whose = |spot: &Spot| {
            let (from, to) = (NAME_AT.to_string(), (NAME_AT + OWNER_BYTES - 1).to_string());
            Command::new("GETRANGE", spot).arg(from).arg(to)
        };
        let owners = self.values(&spots, whose).await?;
        let (mut his, mut shared) = (Vec::new(), Vec::new());
        for (spot, found) in spots.into_iter().zip(owners) {
            match found {
                Some(found) if *found == owner => his.push(spot),
                Some(found) if *found > Name::BEFORE_SHARED.as_bytes()[..OWNER_BYTES] => shared.push(spot),
                _ => {}
            }
        }
        let values = self.values(&shared, Command::get).await?;
        let bought = |found: &Bytes| self.record(found).is_some_and(|(_, record)| record.source.tags.contains(&tag));
        let bought = shared.into_iter().zip(values).filter(|(_, found)| found.as_ref().is_some_and(bought));
        his.extend(bought.map(|(spot, _)| spot));
        Ok(his)
    }

    async fn remove_all(&self, spots: &[Spot]) -> Result<u64, StoreError> {
        let replies = self.redis.run_pipeline(spots.iter().map(Command::del).collect()).await;
        let gone = replies.into_iter().map(|reply| reply.and_then(llm_redis::Value::into_int));
        let gone: Result<i64, _> = gone.sum();
        gone.map(|gone| u64::try_from(gone).unwrap_or_default()).map_err(|error| failed(&error))
    }

    async fn values(
        &self,
        spots: &[Spot],
        command: impl Fn(&Spot) -> Command,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let replies = self.redis.run_pipeline(spots.iter().map(command).collect()).await;
        let values: Result<_, _> =
            replies.into_iter().map(|reply| reply.and_then(llm_redis::Value::into_bytes)).collect();
        values.map_err(|error| failed(&error))
    }
}
