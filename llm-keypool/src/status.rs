use std::{sync::Arc, time::Duration};

use crate::{
    KeyPool, Reason,
    state::{GroupState, MemberState, Model, Part, State, counter::WHOLE, parking::Parking, quota::Quota},
    time::Time,
};

/// State of a pool at one moment.
///
/// ```
/// use llm_keypool::{KeyPool, Member};
///
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).build()?;
/// let status = pool.status();
/// assert_eq!((status.waiting, status.members[0].in_flight), (0, 0));
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Members, in the order in which they were added, as long as none was replaced.
    pub members: Vec<MemberStatus>,
    /// Groups, in the order of their first members.
    pub groups: Vec<GroupStatus>,
    /// Number of calls that are waiting for a member.
    pub waiting: usize,
    /// True if the whole pool is paused, because several groups were refused or unreachable at the same time.
    pub is_paused: bool,
}

/// State of a member.
///
/// ```
/// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
///
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a").group("acme")).build()?;
/// let lease = pool.try_lease(&LeaseRequest::new("gpt-4o"))?;
/// assert_eq!(pool.status().members[0].in_flight, 1);
/// lease.report(Outcome::status(500, None));
/// let member = &pool.status().members[0];
/// assert_eq!((member.attempts, member.failures, member.parked.len()), (1, 1, 0));
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Name of the member.
    pub name: Arc<str>,
    /// Name of the member's group.
    pub group: Arc<str>,
    /// Number of attempts in flight.
    pub in_flight: u32,
    /// Number of attempts since the member was added.
    pub attempts: u64,
    /// Number of attempts that failed for another reason than the request itself.
    pub failures: u64,
    /// Parkings of the member, for all models and for single ones.
    pub parked: Vec<ParkedStatus>,
}

/// State of a group.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Name of the group.
    pub name: Arc<str>,
    /// Number of attempts in flight.
    pub in_flight: u32,
    /// Parkings of the group, for all models and for single ones.
    pub parked: Vec<ParkedStatus>,
    /// Quotas, one for each model.
    pub quotas: Vec<QuotaStatus>,
}

/// State of a quota.
///
/// ```
/// use llm_keypool::{Group, KeyPool, LeaseRequest, Member, Outcome, requests_per_minute};
///
/// let limit = Group::new("acme").limit("gpt-4o", requests_per_minute(4));
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a").group("acme")).group(limit).build()?;
/// pool.try_lease(&LeaseRequest::new("gpt-4o"))?.report(Outcome::success());
/// let quota = &pool.status().groups[0].quotas[0];
/// assert_eq!((quota.requests, quota.headroom, quota.tokens), ((1, Some(4)), 0.75, None));
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuotaStatus {
    /// Name of the model, as the vendor writes it.
    pub model: Arc<str>,
    /// Share of the tightest limit that is left, from 0 to 1.
    pub headroom: f64,
    /// Number of requests in the last minute, and the smallest known limit; `None` while no limit is known.
    pub requests: (u64, Option<u64>),
    /// Number of tokens in the last minute as they were reserved, and the smallest known limit. `None` if no limit of
    /// tokens was ever known.
    pub tokens: Option<(u64, Option<u64>)>,
    /// Number of input tokens in the last minute, and the smallest known limit; `None` as for `tokens`.
    pub input_tokens: Option<(u64, Option<u64>)>,
    /// Number of output tokens in the last minute, and the smallest known limit; `None` as for `tokens`.
    pub output_tokens: Option<(u64, Option<u64>)>,
}

/// Parking of a member or group, or of either for one model.
///
/// ```
/// use std::time::Duration;
/// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
///
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a")).build()?;
/// let refused = Outcome::status(429, Some(Duration::from_secs(7)));
/// pool.try_lease(&LeaseRequest::new("gpt-4o"))?.report(refused);
/// let parked = &pool.status().groups[0].parked[0];
/// assert_eq!((parked.model.as_deref(), parked.times), (Some("gpt-4o"), 1));
/// assert!(parked.retry_in <= Duration::from_secs(7));
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedStatus {
    /// Reason for the parking.
    pub reason: Reason,
    /// Model that the parking is for; `None` if it is for all models.
    pub model: Option<Arc<str>>,
    /// Time until one call is sent as a probe; zero if the next call is the probe.
    pub retry_in: Duration,
    /// Number of consecutive parkings for the same reason; 0 for a trial, in which one call is sent before the others.
    pub times: u32,
}

impl<S> KeyPool<S> {
    /// Returns the current state of the pool, its members and its groups.
    pub fn status(&self) -> PoolStatus {
        self.0.with(|shared, now| {
            let state = &mut shared.state;
            let members = state.live_members().map(|id| state.member_status(id, now)).collect();
            let groups: Vec<_> = state.live_groups().collect();
            let groups = groups.into_iter().map(|id| state.group_status(id, now)).collect();
            PoolStatus { members, groups, waiting: state.queues.waiting(), is_paused: state.pause.is_some() }
        })
    }
}

impl State {
    fn member_status(&self, id: u32, now: Time) -> MemberStatus {
        let MemberState { spec, group, in_flight, attempts, failures, .. } = &self.members[id as usize];
        MemberStatus {
            name: Arc::clone(&spec.name),
            group: Arc::clone(&self.groups[*group as usize].name),
            in_flight: *in_flight,
            attempts: *attempts,
            failures: *failures,
            parked: self.parked_of_member(id).map(|parked| self.parked_status(parked, now)).collect(),
        }
    }

    fn group_status(&mut self, id: u32, now: Time) -> GroupStatus {
        let parked = self.parked_of_group(id).map(|parked| self.parked_status(parked, now)).collect();
        let GroupState { name, members, quotas, .. } = &self.groups[id as usize];
        let in_flight = members.iter().map(|id| self.members[*id as usize].in_flight).sum();
        let quotas = quotas.iter().map(|id| self.quotas[*id as usize].status(&self.models, now)).collect();
        GroupStatus { name: Arc::clone(name), in_flight, parked, quotas }
    }

    fn parked_status(&self, (part, parking): (Part, &Parking), now: Time) -> ParkedStatus {
        ParkedStatus {
            reason: parking.reason,
            model: self.names(part).model,
            retry_in: Duration::from_nanos(parking.opens_at().saturating_sub(now)),
            times: parking.step,
        }
    }
}

impl Quota {
    fn status(&mut self, models: &[Model], now: Time) -> QuotaStatus {
        let mut levels = [None; 4];
        self.counters().for_each(|(unit, counter)| levels[unit] = Some((counter.own.total(now), counter.limit(now))));
        let [requests, tokens, input_tokens, output_tokens] = levels;
        QuotaStatus {
            model: Arc::clone(&models[self.model as usize].name),
            headroom: f64::from(self.room(&[0; 4], false, now).share) / f64::from(WHOLE),
            requests: requests.unwrap_or_default(),
            tokens,
            input_tokens,
            output_tokens,
        }
    }
}
