//! Building of the state from members, groups and models, at the start and when they change.

use std::{collections::HashMap, sync::Arc};

use super::{
    Affinity, Causes, GroupState, Ids, Lane, MemberState, Model, Part, Queues, QuotaState, Settings, Slot, SparseSet,
    State, Tier, quota::Quota,
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

/// Parts of an earlier state, by name.
#[derive(Default)]
struct Earlier {
    members: HashMap<Arc<str>, MemberState>,
    groups: HashMap<Arc<str>, GroupState>,
    quotas: HashMap<(Arc<str>, Arc<str>), Quota>,
}

impl State {
    pub(crate) fn new(settings: Settings, seed: u64, specs: Vec<MemberSpec>) -> Self {
        let mut state = Self {
            settings,
            members: Vec::new(),
            groups: Vec::new(),
            quotas: Vec::new(),
            lanes: Vec::new(),
            models: Vec::new(),
            member_ids: Ids::default(),
            group_ids: Ids::default(),
            model_ids: Ids::default(),
            vendor_groups: HashMap::new(),
            returns: Default::default(),
            attempts: 0,
            epoch: 0,
            version: 0,
            valid_groups: 0,
            causes: Causes::default(),
            affinity: Affinity::default(),
            random: Random(seed),
            queues: Queues::default(),
            events: Vec::new(),
        };
        state.rebuild(specs, Earlier::default(), false, 0);
        state.members.iter_mut().for_each(|member| member.starting_until = 0);
        state
    }

    /// Replaces the members, by name. What is known of a key is kept only if both fingerprints are known and equal.
    pub(crate) fn replace(&mut self, specs: Vec<MemberSpec>, now: Time) {
        let earlier = self.take_parts();
        self.rebuild(specs, earlier, false, now);
    }

    /// Joins a member without a group to a group, because the vendor says that it is in it.
    pub(super) fn join_group(&mut self, member: u32, group: &Arc<str>, now: Time) {
        let name = Arc::clone(self.members[member as usize].spec.group_name());
        let mut specs: Vec<MemberSpec> = self.members.iter().map(|known| known.spec.clone()).collect();
        specs[member as usize].group = Some(Arc::clone(group));
        let mut earlier = self.take_parts();
        let of_member: Vec<_> = earlier.quotas.keys().filter(|(of, _)| *of == name).cloned().collect();
        for (of, model) in of_member {
            let Some(mut quota) = earlier.quotas.remove(&(of, Arc::clone(&model))) else { continue };
            match earlier.quotas.get_mut(&(Arc::clone(group), Arc::clone(&model))) {
                Some(known) => known.absorb(&mut quota),
                None => drop(earlier.quotas.insert((Arc::clone(group), model), quota)),
            }
        }
        // A key stays the key that it was.
        self.rebuild(specs, earlier, true, now);
    }

    /// Returns the id of a model, which may be new.
    pub(crate) fn model_id(&mut self, name: &Arc<str>, now: Time) -> u32 {
        match self.model_ids.get(name) {
            Some(id) => *id,
            None if self.models.len() >= MAX_MODELS && &**name != OTHER_MODELS => {
                self.model_id(&OTHER_MODELS.into(), now)
            }
            None => {
                let id = self.add_model(Arc::clone(name));
                self.build_model(id, now, &mut Earlier::default());
                id
            }
        }
    }

    fn add_model(&mut self, name: Arc<str>) -> u32 {
        let id = self.models.len() as u32;
        self.model_ids.insert(Arc::clone(&name), id);
        self.models.push(Model { name, tiers: Vec::new(), message: None });
        self.queues.add_model();
        id
    }

    fn take_parts(&mut self) -> Earlier {
        let groups = std::mem::take(&mut self.groups);
        let quotas = std::mem::take(&mut self.quotas).into_iter();
        let name = |group: u32| Arc::clone(&groups[group as usize].name);
        Earlier {
            quotas: quotas.map(|known| ((name(known.group), known.model), known.quota)).collect(),
            members: self.members.drain(..).map(|member| (Arc::clone(&member.spec.name), member)).collect(),
            groups: groups.into_iter().map(|group| (Arc::clone(&group.name), group)).collect(),
        }
    }

    fn rebuild(&mut self, specs: Vec<MemberSpec>, mut earlier: Earlier, same_keys: bool, now: Time) {
        self.epoch += 1;
        self.valid_groups = 0;
        self.returns.clear();
        self.lanes.clear();
        self.member_ids.clear();
        self.group_ids.clear();
        self.causes.forget_signs();
        for spec in specs {
            for model in spec.models() {
                if !self.model_ids.contains_key(model) {
                    self.add_model(Arc::clone(model));
                }
            }
            self.add_member(spec, &mut earlier, same_keys, now);
        }
        for model in 0..self.models.len() as u32 {
            self.build_model(model, now, &mut earlier);
        }
        self.schedule_returns(now);
    }

    fn add_member(&mut self, spec: MemberSpec, earlier: &mut Earlier, same_keys: bool, now: Time) {
        let group = self.group_id(spec.group_name(), earlier);
        let id = self.members.len() as u32;
        let known = earlier.members.remove(&spec.name);
        let mut member = known.unwrap_or_else(|| MemberState {
            spec: spec.clone(),
            group,
            verdict: None,
            breaker: Default::default(),
            permissions: Vec::new(),
            doubt: None,
            in_flight: 0,
            starting_until: now + START,
            attempts: 0,
            failures: 0,
            is_valid: false,
            lanes: Vec::new(),
        });
        if !(same_keys || has_same_key(&member.spec, &spec)) {
            (member.verdict, member.permissions, member.doubt) = (None, Vec::new(), None);
        }
        (member.group, member.is_valid) = (group, false);
        member.lanes.clear();
        self.member_ids.insert(Arc::clone(&spec.name), id);
        self.groups[group as usize].members.push(id);
        self.groups[group as usize].in_flight += member.in_flight;
        member.spec = spec;
        self.members.push(member);
    }

    fn group_id(&mut self, name: &Arc<str>, earlier: &mut Earlier) -> u32 {
        if let Some(id) = self.group_ids.get(name) {
            return *id;
        }
        let id = self.groups.len() as u32;
        let known = earlier.groups.remove(name);
        let (money, limit) = known.map(|group| (group.money, group.limit)).unwrap_or_default();
        let name = Arc::clone(name);
        self.group_ids.insert(Arc::clone(&name), id);
        self.groups.push(GroupState {
            name,
            money,
            limit,
            in_flight: 0,
            members: Vec::new(),
            quotas: Vec::new(),
            lanes: Vec::new(),
            valid_members: 0,
            signs: 0,
        });
        id
    }

    /// Returns the id of a quota, which may be new.
    pub(crate) fn quota_id(&mut self, group: u32, model: &Arc<str>) -> u32 {
        self.quota_id_with(group, model, &mut Earlier::default())
    }

    fn quota_id_with(&mut self, group: u32, model: &Arc<str>, earlier: &mut Earlier) -> u32 {
        let of_group = &self.groups[group as usize].quotas;
        if let Some(id) = of_group.iter().find(|id| self.quotas[**id as usize].model == *model) {
            return *id;
        }
        let name = &self.groups[group as usize].name;
        let given = self.settings.groups.iter().find(|given| given.name == *name);
        let of_model = given.iter().flat_map(|given| &given.limits).filter(|(of, _)| of == model);
        let limits: Vec<GroupLimit> = of_model.map(|(_, limit)| *limit).collect();
        let share = given.map_or(100, |given| given.share);
        let mut quota = earlier.quotas.remove(&(Arc::clone(name), Arc::clone(model)));
        if let Some(quota) = &mut quota {
            quota.give(&limits, share);
        }
        let quota = quota.unwrap_or_else(|| Quota::new(&limits, share));
        let id = self.quotas.len() as u32;
        self.quotas.push(QuotaState { group, model: Arc::clone(model), quota, lanes: Vec::new() });
        self.groups[group as usize].quotas.push(id);
        id
    }

    /// Builds the tiers and lanes of a model.
    fn build_model(&mut self, model: u32, now: Time, earlier: &mut Earlier) {
        let name = Arc::clone(&self.models[model as usize].name);
        let mut ids: HashMap<(u32, u32, bool), u32> = HashMap::new();
        let mut lanes: Vec<Lane> = Vec::new();
        for member in 0..self.members.len() as u32 {
            let MemberState { spec, group, .. } = &self.members[member as usize];
            let (tier, group) = (spec.tier, *group);
            let Some((own, stand_in)) = spec.serves(&name) else { continue };
            let quota = self.quota_id_with(group, &own, earlier);
            let at = *ids.entry((tier, quota, stand_in)).or_insert_with(|| {
                let (open, members) = (SparseSet::default(), Vec::new());
                lanes.push(Lane {
                    model,
                    tier,
                    position: 0,
                    group,
                    quota,
                    stand_in,
                    members,
                    only: None,
                    open,
                    weight: 0,
                });
                lanes.len() as u32 - 1
            });
            lanes[at as usize].members.push(member);
        }
        // Stable: equal tiers keep the order of their members.
        lanes.sort_by_key(|lane| lane.tier);
        self.models[model as usize].tiers.clear();
        for lane in lanes {
            self.add_lane(lane, now);
        }
    }

    fn add_lane(&mut self, mut lane: Lane, now: Time) {
        let id = self.lanes.len() as u32;
        let tiers = &mut self.models[lane.model as usize].tiers;
        if tiers.last().is_none_or(|tier| tier.number != lane.tier) {
            let (lanes, open) = (Vec::new(), SparseSet::default());
            tiers.push(Tier { number: lane.tier, lanes, open, max_weight: 1, cursor: 0, closed: None });
        }
        let at = tiers.len() as u32 - 1;
        let tier = &mut tiers[at as usize];
        (lane.tier, lane.position) = (at, tier.lanes.len() as u32);
        tier.lanes.push(id);
        tier.open.grow(tier.lanes.len());
        lane.open = SparseSet::new(lane.members.len());
        lane.only = Some(lane.members[0]).filter(|_| lane.members.len() == 1);
        let weights = lane.members.iter().map(|member| self.members[*member as usize].spec.weight);
        tier.max_weight = tier.max_weight.max(weights.sum());
        for (position, member) in lane.members.iter().enumerate() {
            self.members[*member as usize].lanes.push((id, position as u32));
        }
        self.groups[lane.group as usize].lanes.push(id);
        self.quotas[lane.quota as usize].lanes.push(id);
        let members = lane.members.clone();
        self.lanes.push(lane);
        members.into_iter().for_each(|member| self.refresh_member(member, now));
    }

    /// Schedules a look at everything that returns by time, and looks at all of it now.
    pub(crate) fn schedule_returns(&mut self, now: Time) {
        let mut slots = Vec::new();
        for member in 0..self.members.len() as u32 {
            slots.extend([Slot::Verdict(member), Slot::Breaker(member)]);
            self.return_at(self.members[member as usize].starting_until, Part::Member(member));
        }
        for (quota, known) in self.quotas.iter().enumerate() {
            slots.push(Slot::Quota(quota as u32));
            slots
                .extend(self.groups[known.group as usize].members.iter().map(|it| Slot::Permission(*it, quota as u32)));
        }
        for group in 0..self.groups.len() as u32 {
            slots.extend([Slot::Money(group), Slot::Group(group)]);
        }
        for slot in slots {
            if let Slot::Permission(member, quota) = slot
                && self.members[member as usize].permission(&self.quotas[quota as usize].model).is_none()
            {
                continue;
            }
            if let Some(at) = self.slot(slot).as_ref().map(|parking| parking.opens_at()) {
                self.return_at(at, slot.part());
            }
            self.refresh(slot.part(), now);
        }
    }
}

/// Returns `true` if two members of one name are known to have the same key.
fn has_same_key(one: &MemberSpec, other: &MemberSpec) -> bool {
    one.fingerprint.is_some() && one.fingerprint == other.fingerprint
}
