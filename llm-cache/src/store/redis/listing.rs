//! Operations that visit all entries: listing, copying, forgetting and clearing.

use bytes::Bytes;
use llm_redis::{Command, Key as RedisKey};

use super::{
    scripts::COPY,
    shared::{ENTRY, PAGE, Shared, failed},
    value::NAME_AT,
};
use crate::{
    Partition, StoreError, Tag,
    policy::Timestamp,
    store::{Cursor, Name, PARTITION_BYTES, Page, Record},
};

impl Shared {
    pub(super) async fn page(&self, after: Option<&Cursor>, most: usize) -> Result<Page, StoreError> {
        self.sync(Some(self.operation_timeout)).await.map_err(|error| failed(&error))?;
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
                    None => page.corrupt.extend(super::value::read(&found).map(|(name, _)| name)),
                }
            }
            return Ok(page);
        }
    }

    pub(super) async fn copy(&self, records: Vec<Record>, started_at: Timestamp) -> Result<u64, StoreError> {
        let mut copied = 0;
        for mut record in records {
            // The record was valid in the store that it comes from. The timestamps of that store have no meaning in
            // this one.
            record.provenance.started_at = started_at;
            let Some((name, value)) = self.value(&record) else { continue };
            let call = COPY.with_keys(&[&self.redis_key(&name)]).arg(value).arg(self.ttl_millis(&record.expiry));
            let stored = self
                .redis
                .run_with_timeout(self.operation_timeout, call)
                .await
                .and_then(llm_redis::Value::into_int)
                .map_err(|error| failed(&error))?;
            copied += u64::from(stored == 1);
        }
        Ok(copied)
    }

    pub(super) async fn remove_named(&self, names: &[Name]) -> Result<u64, StoreError> {
        let redis_keys: Vec<RedisKey> = names.iter().map(|name| self.redis_key(name)).collect();
        self.remove_all(&redis_keys).await
    }

    /// Removes all entries of a tenant and the shared entries that the tenant paid for; for `None`, all entries under
    /// the prefix of this store's keys.
    pub(super) async fn sweep(&self, tenant: Option<&str>) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let scanned = self.redis.scan(ENTRY, after.as_deref(), PAGE).await.map_err(|error| failed(&error))?;
            let redis_keys = match tenant {
                Some(tenant) => self.own_entries(scanned.keys, tenant).await?,
                None => scanned.keys,
            };
            self.remove_all(&redis_keys).await?;
            after = scanned.cursor;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Returns the keys of a tenant's entries: those with the tenant's prefix, and shared ones with the tenant's tag.
    async fn own_entries(&self, redis_keys: Vec<RedisKey>, tenant: &str) -> Result<Vec<RedisKey>, StoreError> {
        let (partition, tag) = (self.codec.partition(&Partition::tenant(tenant)), Tag::tenant(tenant));
        let whose = |redis_key: &RedisKey| {
            let (from, to) = (NAME_AT.to_string(), (NAME_AT + PARTITION_BYTES - 1).to_string());
            Command::new("GETRANGE", redis_key).arg(from).arg(to)
        };
        let owners = self.values(&redis_keys, whose).await?;
        let (mut own_entries, mut shared) = (Vec::new(), Vec::new());
        for (redis_key, found) in redis_keys.into_iter().zip(owners) {
            match found {
                Some(found) if *found == partition => own_entries.push(redis_key),
                Some(found) if *found > Name::BEFORE_SHARED.as_bytes()[..PARTITION_BYTES] => shared.push(redis_key),
                _ => {}
            }
        }
        let values = self.values(&shared, Command::get).await?;
        let bought =
            |found: &Bytes| self.record(found).is_some_and(|(_, record)| record.provenance.tags.contains(&tag));
        let bought = shared.into_iter().zip(values).filter(|(_, found)| found.as_ref().is_some_and(bought));
        own_entries.extend(bought.map(|(redis_key, _)| redis_key));
        Ok(own_entries)
    }

    async fn remove_all(&self, redis_keys: &[RedisKey]) -> Result<u64, StoreError> {
        let replies = self.redis.run_pipeline(redis_keys.iter().map(Command::del).collect()).await;
        let gone = replies.into_iter().map(|reply| reply.and_then(llm_redis::Value::into_int));
        let gone: Result<i64, _> = gone.sum();
        gone.map(|gone| u64::try_from(gone).unwrap_or_default()).map_err(|error| failed(&error))
    }

    async fn values(
        &self,
        redis_keys: &[RedisKey],
        command: impl Fn(&RedisKey) -> Command,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let replies = self.redis.run_pipeline(redis_keys.iter().map(command).collect()).await;
        let values: Result<_, _> =
            replies.into_iter().map(|reply| reply.and_then(llm_redis::Value::into_bytes)).collect();
        values.map_err(|error| failed(&error))
    }
}
