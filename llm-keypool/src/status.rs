use std::{sync::Arc, time::Duration};

use crate::{
    KeyPool, Reason,
    group::Unit,
    state::{MemberState, State, counter::WHOLE, parking::Parking},
    time::Time,
};

/// State of a pool at one time.
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
    /// Members, in the order in which they were added.
    pub members: Vec<MemberStatus>,
    /// Groups, in the order of their first members.
    pub groups: Vec<GroupStatus>,
    /// Calls that wait for a member.
    pub waiting: usize,
    /// The whole pool is paused, because its groups were refused together.
    pub is_paused: bool,
}

/// State of a member.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Name.
    pub name: Arc<str>,
    /// Group.
    pub group: Arc<str>,
    /// Attempts that run.
    pub in_flight: u32,
    /// Attempts so far.
    pub attempts: u64,
    /// Attempts that failed, for any reason but the request itself.
    pub failures: u64,
    /// Parkings of the member, and of it for single models.
    pub parked: Vec<ParkedStatus>,
}

/// State of a group.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Name.
    pub name: Arc<str>,
    /// Attempts that run.
    pub in_flight: u32,
    /// Parkings of the group, and of it for single models.
    pub parked: Vec<ParkedStatus>,
    /// Quotas, one for each model.
    pub quotas: Vec<QuotaStatus>,
}

/// State of a quota.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuotaStatus {
    /// Model, as the vendor names it.
    pub model: Arc<str>,
    /// Share of the tightest limit that is left, from 0 to 1.
    pub headroom: f64,
    /// Requests of the last minute, and the limit in force; `None` while unknown.
    pub requests: (u64, Option<u64>),
    /// Tokens as they are reserved, in the form of `requests`; `None` while no such limit is known.
    pub tokens: Option<(u64, Option<u64>)>,
    /// Input tokens, in the form of `tokens`.
    pub input_tokens: Option<(u64, Option<u64>)>,
    /// Output tokens, in the form of `tokens`.
    pub output_tokens: Option<(u64, Option<u64>)>,
}

/// Parking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedStatus {
    /// Reason.
    pub reason: Reason,
    /// The model; `None` if it is all of them.
    pub model: Option<Arc<str>>,
    /// Time until one call tries again; zero if the next one does.
    pub retry_in: Duration,
    /// Number of parkings in a row.
    pub times: u32,
}

impl<S> KeyPool<S> {
    /// Returns the state of members and groups.
    pub fn status(&self) -> PoolStatus {
        self.0.with(|shared, now| {
            let state = &mut shared.state;
            PoolStatus {
                members: state.members.iter().map(|member| member_status(state, member, now)).collect(),
                groups: (0..state.groups.len()).map(|group| group_status(state, group, now)).collect(),
                waiting: state.waiting(),
                is_paused: state.is_paused(),
            }
        })
    }
}

fn parked(parking: Option<&Parking>, model: Option<&Arc<str>>, now: Time) -> Option<ParkedStatus> {
    parking.map(|parking| ParkedStatus {
        reason: parking.reason,
        model: model.cloned(),
        retry_in: Duration::from_nanos(parking.opens_at().saturating_sub(now)),
        times: parking.step,
    })
}

fn member_status(state: &State, member: &MemberState, now: Time) -> MemberStatus {
    let own = [&member.verdict, &member.breaker.parking].into_iter().map(|parking| (parking.as_ref(), None));
    let permissions = member.permissions.iter().map(|(model, parking)| (parking.as_ref(), Some(model)));
    MemberStatus {
        name: Arc::clone(&member.spec.name),
        group: Arc::clone(&state.groups[member.group as usize].name),
        in_flight: member.in_flight,
        attempts: member.attempts,
        failures: member.failures,
        parked: own.chain(permissions).filter_map(|(parking, model)| parked(parking, model, now)).collect(),
    }
}

fn group_status(state: &mut State, at: usize, now: Time) -> GroupStatus {
    let group = &state.groups[at];
    let own = [&group.money, &group.limit].into_iter().filter_map(|parking| parked(parking.as_ref(), None, now));
    let (name, in_flight, mut all) = (Arc::clone(&group.name), group.in_flight, own.collect::<Vec<_>>());
    let mut quotas = Vec::new();
    for known in state.quotas.iter_mut().filter(|quota| quota.group as usize == at) {
        all.extend(parked(known.quota.parking.as_ref(), Some(&known.model), now));
        let levels = known.quota.levels(now).map(|level| level.map(|(limit, own)| (own, limit)));
        quotas.push(QuotaStatus {
            model: Arc::clone(&known.model),
            headroom: f64::from(known.quota.headroom(now)) / f64::from(WHOLE),
            requests: levels[Unit::Requests as usize].unwrap_or_default(),
            tokens: levels[Unit::Tokens as usize],
            input_tokens: levels[Unit::InputTokens as usize],
            output_tokens: levels[Unit::OutputTokens as usize],
        });
    }
    GroupStatus { name, in_flight, parked: all, quotas }
}
