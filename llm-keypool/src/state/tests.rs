//! Tests of the state machine against a naive model, and of its indexes against their definition.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use llm_core::{
    Error, ErrorKind,
    layer::{LimitScope, LimitWindow},
};
use proptest::prelude::*;

use super::{
    choice::{Attempt, Want},
    *,
};
use crate::{
    LeaseRequest,
    group::{Group, requests_per_minute},
    member::Member,
    outcome::Verdict,
    time::{MINUTE, Return, SECOND},
};

const MODELS: [&str; 2] = ["m", "n"];
const LIMIT: u64 = 12;

/// Returns two members of one group, which has a limit for the first model, and two members with a group of their own.
fn members() -> Vec<MemberSpec> {
    let member = |name: &str| Member::new(name, ());
    let members = [member("a").group("g"), member("b").group("g").max_in_flight(3), member("c"), member("d").weight(5)];
    members.into_iter().map(|member| member.spec).collect()
}

fn state(round_robin: bool, seed: u64) -> State {
    let groups = vec![Group::new("g").limit("m", requests_per_minute(LIMIT))];
    let mut state = State::new(Settings { groups, round_robin, max_waiting: 10, seed, ..Settings::default() }.into());
    state.replace(members(), 0);
    state
}

fn want(state: &mut State, model: &str, now: Time) -> Want<'static> {
    let mut want = Want::new(Box::leak(LeaseRequest::new(model).into()));
    state.begin(&mut want, now);
    want
}

/// Reports a refusal from which no limit is learned.
fn refuse(state: &mut State, attempt: &mut Attempt, verdict: Verdict, hint: Option<u64>, now: Time) -> bool {
    let error = Error::new(ErrorKind::Server, "no").with_scope(LimitScope::Model(LimitWindow::Day));
    let error = match hint {
        Some(hint) => error.with_retry_after(Duration::from_secs(hint)),
        None => error,
    };
    state.failed(attempt, verdict, &error, now)
}

fn name(state: &State, attempt: &Attempt) -> Arc<str> {
    Arc::clone(&state.members[attempt.place.member as usize].spec.name)
}

fn go(state: &mut State, model: &str, now: Time) -> Attempt {
    let mut want = want(state, model, now);
    state.choose(&mut want, 0, now).unwrap()
}

/// Parking in the naive model. It ignores attempts up to a number, which were sent before the parking.
#[derive(Clone, Copy, Debug)]
struct Away {
    until: Time,
    sent: u64,
    tried: Option<Time>,
}

/// Naive model: a log of attempts, and a table of parkings by name.
#[derive(Default)]
struct Naive {
    away: HashMap<String, Away>,
    log: Vec<Time>,
    in_flight: HashMap<String, u32>,
    sent: u64,
}

impl Naive {
    fn keys(member: &str, model: &str) -> [String; 4] {
        let group = if "ab".contains(member) { "g" } else { member };
        [member.into(), format!("{member} {model}"), format!("group {group}"), format!("group {group} {model}")]
    }

    fn is_away(&self, member: &str, model: &str, now: Time) -> bool {
        let is_away = |away: &Away| now < away.until || away.tried.is_some_and(|at| now < at + SECOND);
        Self::keys(member, model).iter().any(|key| self.away.get(key).is_some_and(is_away))
            || (member == "b" && self.in_flight.get("b").is_some_and(|attempts| *attempts >= 3))
    }

    /// Returns `true` if the limit certainly has room, or certainly has none.
    fn room(&self, margin: Time, now: Time) -> bool {
        self.log.iter().filter(|at| *at + MINUTE + margin > now).count() < LIMIT as usize
    }

    fn send(&mut self, member: &str, model: &str, now: Time) {
        self.sent += 1;
        *self.in_flight.entry(member.into()).or_default() += 1;
        for key in Self::keys(member, model) {
            if let Some(away) = self.away.get_mut(&key) {
                away.tried.get_or_insert(now);
            }
        }
        if "ab".contains(member) && model == "m" {
            self.log.push(now);
        }
    }

    fn park(&mut self, key: usize, member: &str, model: &str, attempt: u64, length: Time, now: Time) {
        let key = Self::keys(member, model)[key].clone();
        let away = Away { until: now + length, sent: self.sent, tried: None };
        if self.away.get(&key).is_none_or(|known| attempt > known.sent) {
            self.away.insert(key, away);
        }
    }

    fn end(&mut self, member: &str, model: &str, attempt: u64, outcome: &Outcome, sent_at: Time, now: Time) {
        *self.in_flight.entry(member.into()).or_default() -= 1;
        let keys = Self::keys(member, model);
        match outcome {
            Outcome::Success => {
                for key in keys {
                    if self.away.get(&key).is_some_and(|away| attempt > away.sent) {
                        self.away.remove(&key);
                    }
                }
                return;
            }
            Outcome::Limited(hint) => self.park(3, member, model, attempt, hint * SECOND, now),
            Outcome::Unpaid(hint) => self.park(2, member, model, attempt, hint * SECOND, now),
            Outcome::Unauthorized => self.park(0, member, model, attempt, 10 * MINUTE, now),
            Outcome::Dropped => {}
        }
        if !matches!(outcome, Outcome::Dropped) && "ab".contains(member) && model == "m" {
            let at = self.log.iter().rposition(|at| *at == sent_at).unwrap();
            self.log.remove(at);
        }
    }

    /// Removes an attempt as the probe, so that another attempt may become the probe.
    fn return_turns(&mut self, member: &str, model: &str, sent_at: Time) {
        for key in Self::keys(member, model) {
            if let Some(away) = self.away.get_mut(&key) {
                away.tried = away.tried.filter(|at| *at != sent_at);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Success,
    Limited(u64),
    Unpaid(u64),
    Unauthorized,
    Dropped,
}

#[derive(Clone, Debug)]
enum Step {
    Wait(Time),
    Send(usize),
    End(usize, Outcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Success),
        2 => (1_u64..100).prop_map(Outcome::Limited),
        1 => (1_u64..100).prop_map(Outcome::Unpaid),
        1 => Just(Outcome::Unauthorized),
        1 => Just(Outcome::Dropped),
    ];
    let step = prop_oneof![
        2 => (1..20 * SECOND).prop_map(Step::Wait),
        1 => (1..11 * MINUTE).prop_map(Step::Wait),
        6 => (0..MODELS.len()).prop_map(Step::Send),
        6 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::End(which, outcome)),
    ];
    prop::collection::vec(step, 1..200)
}

/// Compares each index with its definition.
fn check_indexes(state: &mut State, now: Time) {
    state.find_returned(now);
    let is_open = |part: Part| state.parking(part).is_none_or(|parking| parking.opens_at() <= now);
    let is_timed = |part: Part| is_open(part) || state.parking(part).is_some_and(|parking| parking.is_timed);
    for model in &state.models {
        for tier in &model.tiers {
            for route_id in &tier.routes {
                let route = &state.routes[*route_id as usize];
                let own = state.quotas[route.quota as usize].model;
                let (mut weight, mut returning) = (0, 0);
                for id in &route.members {
                    let member = &state.members[*id as usize];
                    let parts = [Part::Member(*id), Part::Permission(*id, own)];
                    let can_take = member.has_slot(now) && parts.into_iter().all(is_open);
                    let returns = !can_take && parts.into_iter().all(is_timed);
                    assert_eq!(route.open.contains(id), can_take, "{} at {now}", member.spec.name);
                    assert_eq!(route.returning.contains(id), returns, "{} at {now}", member.spec.name);
                    returning += usize::from(returns);
                    weight += if can_take { member.spec.weight } else { 0 };
                }
                let parts = [Part::Group(route.group), Part::Quota(route.quota)];
                let can_take = weight > 0 && parts.into_iter().all(is_open);
                let returns = !can_take && weight as usize + returning > 0 && parts.into_iter().all(is_timed);
                assert_eq!(route.weight, weight);
                assert_eq!(tier.open.contains(route_id), can_take, "group {} at {now}", route.group);
                assert_eq!(tier.returning.contains(route_id), returns, "group {} at {now}", route.group);
            }
        }
    }
}

/// Applies steps to the state machine and to the naive model, and compares them.
fn play(round_robin: bool, seed: u64, steps: Vec<Step>) {
    let (mut state, mut naive, mut now) = (state(round_robin, seed), Naive::default(), 0);
    let mut running: Vec<(Attempt, &str)> = Vec::new();
    for step in steps {
        // No two events have the same time, so that the naive model can tell attempts apart.
        now += 1;
        match step {
            Step::Wait(time) => now += time,
            Step::Send(model) => {
                let (model, margin) = (MODELS[model], MINUTE / 120);
                let mut want = want(&mut state, model, now);
                let can_serve = |member: &str, margin| {
                    !naive.is_away(member, model, now)
                        && (!"ab".contains(member) || model == "n" || naive.room(margin, now))
                };
                match state.choose(&mut want, 0, now) {
                    Ok(attempt) => {
                        let member = name(&state, &attempt);
                        assert!(can_serve(&member, 0), "{member} for {model} at {now}");
                        naive.send(&member, model, now);
                        assert_eq!(attempt.number, naive.sent);
                        running.push((attempt, model));
                    }
                    _ => assert!(
                        ["a", "b", "c", "d"].iter().all(|member| !can_serve(member, margin)),
                        "{model} at {now}"
                    ),
                }
            }
            Step::End(_, _) if running.is_empty() => {}
            Step::End(which, outcome) => {
                let (mut attempt, model) = running.swap_remove(which % running.len());
                let (member, sent_at) = (name(&state, &attempt), attempt.taken.sent_at);
                naive.return_turns(&member, model, sent_at);
                naive.end(&member, model, attempt.number, &outcome, sent_at, now);
                match outcome {
                    Outcome::Success => state.succeeded(&mut attempt, None, now),
                    Outcome::Limited(hint) => {
                        refuse(&mut state, &mut attempt, Verdict::RateLimited, Some(hint), now);
                    }
                    Outcome::Unpaid(hint) => {
                        refuse(&mut state, &mut attempt, Verdict::Unpaid, Some(hint), now);
                    }
                    Outcome::Unauthorized => {
                        refuse(&mut state, &mut attempt, Verdict::Unauthorized, None, now);
                    }
                    Outcome::Dropped => {}
                }
                state.release(&attempt, None, now);
                for known in &state.members {
                    assert_eq!(known.in_flight, naive.in_flight.get(&*known.spec.name).copied().unwrap_or(0));
                }
            }
        }
        check_indexes(&mut state, now);
        for model in 0..state.models.len() as u32 {
            let mut want = want(&mut state, MODELS[0], now);
            want.model = model;
            assert_eq!(state.unavailable(&want).message(), state.reasons(model), "at {now}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn state_agrees_with_naive_model(round_robin in any::<bool>(), seed in any::<u64>(), steps in steps()) {
        play(round_robin, seed, steps);
    }
}

#[test]
fn choice_follows_weights() {
    let mut state = state(false, 7);
    let mut counts: HashMap<Arc<str>, u32> = HashMap::new();
    for step in 0..9_000 {
        let attempt = go(&mut state, "n", step);
        state.release(&attempt, None, step);
        *counts.entry(name(&state, &attempt)).or_default() += 1;
    }
    // Without limits the two random groups are equally good: a and b together weigh 2, c weighs 1 and d weighs 5.
    let of = |names: [&str; 2]| names.iter().map(|name| counts.get(*name).copied().unwrap_or(0)).sum::<u32>();
    assert!((1_900..2_600).contains(&of(["a", "b"])), "{counts:?}");
    assert!((800..1_500).contains(&of(["c", "c"]).div_ceil(2)), "{counts:?}");
    assert!(counts["a"].abs_diff(counts["b"]) < 300, "{counts:?}");
}

#[test]
fn choice_prefers_group_with_more_room() {
    let mut state = state(false, 7);
    for step in 0..6 {
        let attempt = go(&mut state, "m", step);
        state.release(&attempt, None, step);
    }
    let model = state.model_ids["m"];
    let used = state.quotas.iter_mut().find(|quota| quota.model == model && quota.group == 0).unwrap();
    assert!(used.counter(0).own.total(10) <= 3, "groups without a limit have all of their room");
}

#[test]
fn replace_keeps_verdict_of_same_key_alone() {
    let named = |fingerprint: &str| Member::new("a", ()).fingerprint(fingerprint).spec;
    for (given, stays) in [(Some("k1"), true), (Some("k2"), false), (None, false)] {
        let mut state = state(false, 7);
        state.replace(vec![named("k1")], 0);
        let mut attempt = go(&mut state, "m", 1);
        refuse(&mut state, &mut attempt, Verdict::Unauthorized, None, 2);
        let spec = given.map_or_else(|| Member::new("a", ()).spec, named);
        state.replace(vec![spec], 3);
        // The attempt was sent before the members changed.
        assert_eq!(state.members[0].in_flight, 1);
        state.release(&attempt, None, 4);
        assert_eq!((state.members[0].in_flight, state.members[0].parking.is_some()), (0, stays), "{given:?}");
        check_indexes(&mut state, 5);
    }
}

#[test]
fn replace_ignores_verdict_of_earlier_key() {
    let mut state = state(false, 7);
    state.replace(vec![Member::new("a", ()).fingerprint("k1").spec], 0);
    let mut attempt = go(&mut state, "m", 1);
    state.replace(vec![Member::new("a", ()).fingerprint("k2").spec], 2);
    refuse(&mut state, &mut attempt, Verdict::Unauthorized, None, 3);
    state.release(&attempt, None, 3);
    assert!(state.members[0].parking.is_none());
    assert_eq!((state.members[0].in_flight, state.members[0].failures), (0, 1));
}

#[test]
fn replace_reuses_places_of_ended_members() {
    let mut state = state(false, 7);
    let named = |name: String| Member::new(&*name, ()).group(format!("of {name}")).spec;
    let mut running = VecDeque::new();
    for step in 0..1_000 {
        let now = step * 2 * SECOND;
        state.replace((0..3).map(|member| named(format!("{step} {member}"))).collect(), now);
        running.push_back(go(&mut state, ["m", "n"][step as usize % 2], now));
        if running.len() > 2 {
            let mut ended: Attempt = running.pop_front().unwrap();
            refuse(&mut state, &mut ended, Verdict::RateLimited, Some(9), now);
            state.release(&ended, None, now);
        }
        check_indexes(&mut state, now);
    }
    assert!(state.members.len() <= 12 && state.groups.len() <= 12 && state.quotas.len() <= 40, "{:?}", state.quotas);
    running.iter().for_each(|attempt| state.release(attempt, None, 3_000 * SECOND));
    assert!(state.members.iter().all(|member| member.in_flight == 0));
}

#[test]
fn replace_starts_added_member_slowly() {
    let mut state = state(false, 7);
    state.replace(vec![Member::new("new", ()).spec], SECOND);
    let first = go(&mut state, "m", SECOND + 1);
    let mut again = want(&mut state, "m", SECOND + 2);
    assert!(
        matches!(state.choose(&mut again, 0, SECOND + 2), Err(returns) if returns == Return::released(SECOND + 2, 2 * SECOND))
    );
    let second = go(&mut state, "m", 2 * SECOND);
    assert_eq!((first.number, second.number), (1, 2));
}

#[test]
fn vendor_group_joins_members_and_their_counts() {
    let mut state = state(false, 7);
    state.replace(vec![Member::new("x", ()).spec, Member::new("y", ()).spec], 0);
    let mut limits = llm_core::layer::VendorLimits::default();
    limits.group = Some("org".into());
    for now in 2 * SECOND..2 * SECOND + 20 {
        let mut attempt = go(&mut state, "m", now);
        state.succeeded(&mut attempt, Some(&limits), now);
        state.release(&attempt, None, now);
        check_indexes(&mut state, now);
    }
    assert_eq!(state.group_ids.len(), 1, "{:?}", state.group_ids);
    let group = *state.group_ids.values().next().unwrap();
    let quota = state.groups[group as usize].quotas[0];
    assert_eq!(state.quotas[quota as usize].counter(0).own.total(3 * SECOND), 20, "no attempt is forgotten");
}

#[test]
fn forbidden_twice_by_model_parks_member() {
    let mut state = state(false, 7);
    state.replace(vec![Member::new("x", ()).spec, Member::new("y", ()).spec], 0);
    let serve = |state: &mut State, model: &str, now: Time| {
        let mut attempt = go(state, model, now);
        if &*name(state, &attempt) == "x" {
            refuse(state, &mut attempt, Verdict::Forbidden, None, now);
        } else {
            state.succeeded(&mut attempt, None, now);
        }
        state.release(&attempt, None, now);
    };
    for now in 2 * SECOND..2 * SECOND + 40 {
        serve(&mut state, "m", now);
    }
    assert!(state.members[0].parking.is_none());
    for now in 3 * SECOND..3 * SECOND + 40 {
        serve(&mut state, "n", now);
    }
    assert_eq!(state.members[0].parking.as_ref().map(|parking| parking.reason), Some(Reason::Forbidden));
}

#[test]
fn not_found_of_last_member_needs_confirmation() {
    let mut state = state(false, 7);
    state.replace(vec![Member::new("x", ()).spec], 0);
    let mut doubted = |now: Time| {
        let mut attempt = go(&mut state, "m", now);
        let is_doubted = refuse(&mut state, &mut attempt, Verdict::NotFound, None, now);
        state.release(&attempt, None, now);
        is_doubted
    };
    assert!(doubted(2 * SECOND));
    assert!(doubted(2 * SECOND + MINUTE + 1), "the first one is too long ago");
    assert!(!doubted(4 * SECOND + MINUTE));
    let mut again = want(&mut state, "m", 5 * SECOND + MINUTE);
    assert!(matches!(state.choose(&mut again, 0, 5 * SECOND + MINUTE), Err(Return::NEVER)));
}

/// Members that become available at no known time are in no index, and the message that counts them is built only once.
#[test]
fn unavailable_counts_dead_members_once() {
    let mut state = state(false, 7);
    state
        .replace((0..500).map(|id| Member::new(format!("{id}"), ()).group(format!("of {}", id / 2)).spec).collect(), 0);
    for now in 2 * SECOND..2 * SECOND + 500 {
        let mut attempt = go(&mut state, "m", now);
        refuse(&mut state, &mut attempt, Verdict::Unauthorized, None, now);
        state.release(&attempt, None, now);
    }
    let mut again = want(&mut state, "m", 3 * SECOND);
    assert!(matches!(state.choose(&mut again, 0, 3 * SECOND), Err(Return::NEVER)));
    let tier = &state.models[again.model as usize].tiers[0];
    assert_eq!((tier.routes.len(), tier.open.len(), tier.returning.len()), (250, 0, 0));
    let (first, second) = (state.unavailable(&again), state.unavailable(&again));
    assert!(first.message().contains("500 unauthorized") && std::ptr::eq(first.message(), second.message()), "{first}");
    state.reset(7, 4 * SECOND);
    assert!(state.unavailable(&again).message().contains("499 unauthorized"));
}

#[test]
fn made_up_models_share_one_state() {
    assert_eq!([0, 3, 1_000, 30_000, 2_000_000].map(members::most_models), [1_000, 1_000, 1_000, 33, 0]);
    let mut state = state(false, 7);
    let models: Vec<_> = (0..1_100).map(|name| want(&mut state, &format!("made up {name}"), 1).model).collect();
    assert_eq!((state.models.len(), models[999], models[1_099]), (1_001, 999, 1_000));
    let mut other = want(&mut state, "made up 1099", 1);
    assert!(state.choose(&mut other, 0, 1).is_ok());
}
