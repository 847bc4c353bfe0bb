//! Members, groups and models of a state, and the lanes that they make.
//!
//! Ids are stable while anything is in flight at them: a replacement marks members as gone, gives new ones the places of those
//! that ended, and builds the lanes of all models anew. A model that is asked for the first time gets its lanes then.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use llm_core::layer::Backoff;

use super::{
    Affinity, GroupState, Ids, Lane, MemberState, Model, Part, Queues, Quota, Settings, SparseSet, State, Tier,
};
use crate::{
    group::GroupLimit,
    member::MemberSpec,
    random::Random,
    time::{SECOND, Time},
};

/// Most models that are kept apart. All further ones share one state, so that a caller who makes names up costs little.
const MAX_MODELS: usize = 1_000;
/// Name of the further models together; no vendor has such a model.
const OTHER_MODELS: &str = "(other models)";
/// Time for which an added member gets one call at a time.
const START: Time = SECOND;

impl State {
    pub(crate) fn new(settings: Settings, seed: u64, specs: Vec<MemberSpec>) -> Self {
        let mut state = Self {
            settings,
            members: Vec::new(),
            groups: Vec::new(),
            quotas: Vec::new(),
            free_quotas: Vec::new(),
            lanes: Vec::new(),
            models: Vec::new(),
            member_ids: Ids::default(),
            group_ids: Ids::default(),
            model_ids: Ids::default(),
            vendor_groups: Ids::default(),
            returns: Default::default(),
            attempts: 0,
            served: 0,
            pause: None,
            affinity: Affinity::default(),
            random: Random(seed),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).seeded(seed),
            queues: Queues::default(),
            events: Vec::new(),
        };
        state.replace(specs, 0);
        state.members.iter_mut().for_each(|member| member.starting_until = 0);
        state.schedule_returns(0);
        state
    }

    /// Replaces the members, by name, and returns their ids. What is known of a key is kept only if both fingerprints are
    /// known and equal.
    pub(crate) fn replace(&mut self, specs: Vec<MemberSpec>, now: Time) -> Vec<u32> {
        let before = std::mem::take(&mut self.member_ids);
        let kept = specs.iter().filter_map(|spec| Some((Arc::clone(&spec.name), *before.get(&spec.name)?)));
        self.member_ids = kept.collect();
        let busy = (0..).zip(&self.members).filter(|(_, member)| member.in_flight > 0);
        let (busy_members, busy_groups): (Vec<_>, Vec<_>) = busy.map(|(id, member)| (id, member.group)).unzip();
        let mut free_members = vacant(self.members.len(), &self.member_ids, busy_members);
        let mut free_groups = vacant(self.groups.len(), &self.group_ids, busy_groups);
        self.members.iter_mut().for_each(|member| member.is_gone = true);
        self.groups.iter_mut().for_each(|group| group.members.clear());
        let mut ids = Vec::with_capacity(specs.len());
        for spec in specs {
            for model in spec.models() {
                self.intern(model);
            }
            let group = self.group_id(spec.group_name(), &mut free_groups);
            let id = self.member_id(&spec, group, &mut free_members, now);
            if !has_same_key(&self.members[id as usize].spec, &spec) {
                self.forget_key(id);
            }
            let member = &mut self.members[id as usize];
            (member.spec, member.is_gone) = (spec, false);
            self.move_member(id, group);
            ids.push(id);
        }
        self.build(now);
        ids
    }

    /// Joins a member without a group to a group, because the vendor says that it is in it.
    pub(super) fn join_group(&mut self, member: u32, group: u32, now: Time) {
        let name = Arc::clone(&self.groups[group as usize].name);
        let own = self.members[member as usize].group;
        self.members[member as usize].spec.group = Some(name);
        self.groups[own as usize].members.retain(|known| *known != member);
        self.move_member(member, group);
        if self.groups[own as usize].members.is_empty() {
            for quota in std::mem::take(&mut self.groups[own as usize].quotas) {
                let same = self.quota_id(group, self.quotas[quota as usize].model);
                let used = self.quotas[quota as usize].clone();
                self.quotas[same as usize].absorb(&used);
                self.free_quotas.push(quota);
            }
        }
        self.build(now);
    }

    /// Adds a member to a group.
    fn move_member(&mut self, id: u32, group: u32) {
        let member = &mut self.members[id as usize];
        member.group = group;
        self.groups[group as usize].members.push(id);
    }

    /// Forgets what is known of a member's key.
    pub(super) fn forget_key(&mut self, id: u32) {
        let member = &mut self.members[id as usize];
        member.parking.take_if(|parking| !parking.reason.is_failure());
        (member.permissions, member.doubt, member.key_since) = (BTreeMap::new(), None, self.attempts);
    }

    /// Returns the id of a model, which may be new.
    pub(crate) fn model_id(&mut self, name: &Arc<str>, now: Time) -> u32 {
        match self.model_ids.get(name) {
            Some(id) => *id,
            None if self.models.len() >= MAX_MODELS && &**name != OTHER_MODELS => {
                self.model_id(&OTHER_MODELS.into(), now)
            }
            None => {
                let id = self.intern(name);
                self.build_model(id);
                (0..self.members.len() as u32).for_each(|member| self.refresh_member(member, now));
                id
            }
        }
    }

    /// Returns the id of a name, without lanes if it is new.
    fn intern(&mut self, name: &Arc<str>) -> u32 {
        *self.model_ids.entry(Arc::clone(name)).or_insert_with(|| {
            self.models.push(Model { name: Arc::clone(name), ..Model::default() });
            self.models.len() as u32 - 1
        })
    }

    fn member_id(&mut self, spec: &MemberSpec, group: u32, free: &mut impl Iterator<Item = u32>, now: Time) -> u32 {
        *self.member_ids.entry(Arc::clone(&spec.name)).or_insert_with(|| {
            let (spec, starting_until) = (spec.clone(), now + START);
            let member = MemberState { spec, group, starting_until, ..MemberState::default() };
            put(&mut self.members, free.next(), member)
        })
    }

    fn group_id(&mut self, name: &Arc<str>, free: &mut impl Iterator<Item = u32>) -> u32 {
        *self.group_ids.entry(Arc::clone(name)).or_insert_with(|| {
            let free = free.next();
            if let Some(earlier) = free {
                self.free_quotas.append(&mut self.groups[earlier as usize].quotas);
            }
            let group = GroupState { name: Arc::clone(name), ..GroupState::default() };
            put(&mut self.groups, free, group)
        })
    }

    /// Returns the id of a quota, which may be new.
    pub(crate) fn quota_id(&mut self, group: u32, model: u32) -> u32 {
        let of_group = &self.groups[group as usize];
        if let Some(id) = of_group.quotas.iter().find(|id| self.quotas[**id as usize].model == model) {
            return *id;
        }
        let name = &self.models[model as usize].name;
        let given = self.settings.groups.iter().find(|given| given.name == of_group.name);
        let of_model = given.iter().flat_map(|given| &given.limits).filter(|(of, _)| of == name);
        let limits: Vec<GroupLimit> = of_model.map(|(_, limit)| *limit).collect();
        let quota = Quota::new(group, model, &limits, given.map_or(100, |given| given.share));
        let id = put(&mut self.quotas, self.free_quotas.pop(), quota);
        self.groups[group as usize].quotas.push(id);
        id
    }

    /// Builds the lanes of all models.
    fn build(&mut self, now: Time) {
        let groups = &self.groups;
        self.group_ids.retain(|_, group| !groups[*group as usize].members.is_empty());
        self.vendor_groups.retain(|_, group| !groups[*group as usize].members.is_empty());
        self.lanes.clear();
        self.members.iter_mut().for_each(|member| member.lanes.clear());
        self.groups.iter_mut().for_each(|group| (group.lanes, group.sign) = (Vec::new(), None));
        (0..self.models.len() as u32).for_each(|model| self.build_model(model));
        self.schedule_returns(now);
    }

    /// Builds the tiers and lanes of a model. Nothing is in its indexes yet.
    fn build_model(&mut self, model: u32) {
        let name = Arc::clone(&self.models[model as usize].name);
        let mut ids: HashMap<(u32, u32, bool), usize> = HashMap::new();
        let mut lanes: Vec<Lane> = Vec::new();
        for member in 0..self.members.len() as u32 {
            let MemberState { spec, group, is_gone: false, .. } = &self.members[member as usize] else { continue };
            let (tier, group) = (spec.tier, *group);
            let Some((own, stand_in)) = spec.serves(&name) else { continue };
            let own = self.intern(&own);
            let quota = self.quota_id(group, own);
            let at = *ids.entry((tier, quota, stand_in)).or_insert(lanes.len());
            if at == lanes.len() {
                let (open, members) = (SparseSet::default(), Vec::new());
                lanes.push(Lane { model, tier, position: 0, group, quota, stand_in, members, open, weight: 0 });
            }
            lanes[at].members.push(member);
        }
        // Stable: equal tiers keep the order of their members.
        lanes.sort_by_key(|lane| lane.tier);
        self.models[model as usize].tiers.clear();
        lanes.into_iter().for_each(|lane| self.add_lane(lane));
    }

    fn add_lane(&mut self, mut lane: Lane) {
        let id = self.lanes.len() as u32;
        let tiers = &mut self.models[lane.model as usize].tiers;
        if tiers.last().is_none_or(|tier| tier.number != lane.tier) {
            tiers.push(Tier { number: lane.tier, ..Tier::default() });
        }
        let at = tiers.len() - 1;
        let tier = &mut tiers[at];
        (lane.tier, lane.position) = (at as u32, tier.lanes.len() as u32);
        tier.lanes.push(id);
        tier.open.grow(tier.lanes.len());
        lane.open.grow(lane.members.len());
        let weights = lane.members.iter().map(|member| self.members[*member as usize].spec.weight);
        tier.max_weight = tier.max_weight.max(weights.sum());
        for (member, position) in lane.members.iter().zip(0..) {
            self.members[*member as usize].lanes.push((id, position));
        }
        self.groups[lane.group as usize].lanes.push(id);
        self.lanes.push(lane);
    }

    /// Schedules a look at everything that returns by time, and looks at all of it now.
    pub(crate) fn schedule_returns(&mut self, now: Time) {
        let parked = self.parked().into_iter().map(|(part, parking)| (parking.opens_at(), part));
        let starts = self.members.iter().zip(0..).map(|(member, id)| (member.starting_until, Part::Member(id)));
        self.returns = parked.chain(starts).map(std::cmp::Reverse).collect();
        (0..self.members.len() as u32).for_each(|member| self.refresh_member(member, now));
        (0..self.groups.len() as u32).for_each(|group| self.refresh_group(group, now));
        self.queues.wake_heads();
    }
}

/// Returns the ids below an end that no name has and where nothing is in flight.
fn vacant(end: usize, ids: &Ids, busy: Vec<u32>) -> impl Iterator<Item = u32> + use<> {
    let used: HashSet<u32> = ids.values().copied().chain(busy).collect();
    (0..end as u32).filter(move |id| !used.contains(id))
}

/// Puts a part at a place that is free, or at the end. Returns its id.
fn put<T>(all: &mut Vec<T>, free: Option<u32>, part: T) -> u32 {
    match free {
        Some(id) => all[id as usize] = part,
        None => all.push(part),
    }
    free.unwrap_or(all.len() as u32 - 1)
}

/// Returns `true` if two members of one name are known to have the same key.
fn has_same_key(one: &MemberSpec, other: &MemberSpec) -> bool {
    one.fingerprint.is_some() && one.fingerprint == other.fingerprint
}
