//! Building of a state's members, groups and models, and of the routes between them.
//!
//! The id of a member stays valid while an attempt at the member is in flight. A replacement of the members marks
//! removed members as gone, gives new members the ids of removed ones whose attempts have ended, and rebuilds the
//! routes of all models. The routes of a model are first built when a call requests the model.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use indexmap::IndexMap;

use super::{GroupState, MemberState, Model, Part, Quota, Route, Settings, State, Tier};
use crate::{
    group::GroupLimit,
    member::MemberSpec,
    random::Random,
    time::{SECOND, Time},
};

/// Largest number of models with a state of their own. All further models share one state, so that invented names cost
/// little memory.
const MAX_MODELS: usize = 1_000;
/// Largest product of the numbers of models and members. Each pair may take half a kilobyte of memory.
const MAX_MODELS_OF_MEMBERS: usize = 1_000_000;
/// Name of the state that all further models share. No vendor has a model with this name.
const OTHER_MODELS: &str = "(other models)";
/// Time for which an added member takes only one call at a time.
const START: Time = SECOND;

impl State {
    /// Creates a state without members.
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { random: Random(settings.seed), settings, ..Self::default() }
    }

    /// Replaces the members, by name, and returns their ids. A member stays parked because of its key only if both
    /// fingerprints are known and equal.
    pub(crate) fn replace(&mut self, specs: Vec<MemberSpec>, now: Time) -> Vec<u32> {
        let starting_until = if self.members.is_empty() { now } else { now + START };
        let names: HashSet<_> = specs.iter().map(|spec| Arc::clone(&spec.name)).collect();
        self.member_ids.retain(|name, _| names.contains(name));
        self.members.iter_mut().for_each(|member| member.is_gone |= !names.contains(&member.spec.name));
        // The id of a removed member is reused when no attempt at the member is in flight.
        let busy: HashSet<_> = self.members.iter().filter(|member| member.in_flight > 0).map(|it| it.group).collect();
        let mut free_members = ids_where(&self.members, |_, member| member.is_gone && member.in_flight == 0);
        let mut free_groups = ids_where(&self.groups, |id, group| group.members.is_empty() && !busy.contains(&id));
        self.groups.iter_mut().for_each(|group| group.members.clear());
        let mut ids = Vec::with_capacity(specs.len());
        for spec in specs {
            for model in spec.models() {
                self.intern(model);
            }
            let group = self.group_id(spec.group_name(), &mut free_groups);
            let id = *self.member_ids.entry(Arc::clone(&spec.name)).or_insert_with(|| {
                put(&mut self.members, free_members.pop(), MemberState { starting_until, ..MemberState::default() })
            });
            let member = &mut self.members[id as usize];
            if spec.fingerprint.is_none() || member.spec.fingerprint != spec.fingerprint {
                member.parking.take_if(|parking| !parking.reason.is_failure());
                (member.permissions, member.doubt, member.key_since) = (BTreeMap::new(), None, self.attempts);
            }
            member.spec = spec;
            self.move_member(id, group);
            ids.push(id);
        }
        self.build(now);
        ids
    }

    /// Moves a member, for which the application set no group, to the group that has the same name in the vendor's
    /// responses.
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

    /// Returns the id of a model, and creates the model with its routes if it is new. If there are too many models,
    /// returns the id of the state that further models share.
    pub(crate) fn model_id(&mut self, name: &Arc<str>, now: Time) -> u32 {
        match self.model_ids.get(name) {
            Some(id) => *id,
            None if self.models.len() >= most_models(self.members.len()) && &**name != OTHER_MODELS => {
                self.model_id(&OTHER_MODELS.into(), now)
            }
            None => {
                let (id, first_route) = (self.intern(name), self.routes.len());
                self.build_model(id);
                self.refresh_routes(first_route, now);
                id
            }
        }
    }

    /// Returns the id for a model's name. A new model has no routes yet.
    fn intern(&mut self, name: &Arc<str>) -> u32 {
        *self.model_ids.entry(Arc::clone(name)).or_insert_with(|| {
            self.models.push(Model { name: Arc::clone(name), ..Model::default() });
            self.models.len() as u32 - 1
        })
    }

    fn group_id(&mut self, name: &Arc<str>, free: &mut Vec<u32>) -> u32 {
        *self.group_ids.entry(Arc::clone(name)).or_insert_with(|| {
            let free = free.pop();
            if let Some(earlier) = free {
                self.free_quotas.append(&mut self.groups[earlier as usize].quotas);
            }
            put(&mut self.groups, free, GroupState { name: Arc::clone(name), ..GroupState::default() })
        })
    }

    /// Returns the id of the group's quota for the model, and creates the quota if there is none.
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

    /// Builds the routes of all models, removes groups without members, and updates the indexes.
    fn build(&mut self, now: Time) {
        let groups = &self.groups;
        self.group_ids.retain(|_, group| !groups[*group as usize].members.is_empty());
        self.vendor_groups.retain(|_, group| !groups[*group as usize].members.is_empty());
        self.routes.clear();
        self.members.iter_mut().for_each(|member| member.routes.clear());
        self.groups.iter_mut().for_each(|group| (group.routes, group.sign) = (Vec::new(), None));
        (0..self.models.len() as u32).for_each(|model| self.build_model(model));
        self.schedule_returns(now);
    }

    /// Builds the tiers and routes of a model. The new routes are closed until they are refreshed.
    fn build_model(&mut self, model: u32) {
        let name = Arc::clone(&self.models[model as usize].name);
        let mut routes: IndexMap<(u32, u32, bool), Route> = IndexMap::new();
        for member in 0..self.members.len() as u32 {
            let MemberState { spec, group, is_gone: false, .. } = &self.members[member as usize] else { continue };
            let (tier, group) = (spec.tier, *group);
            let Some((own, stand_in)) = spec.serves(&name) else { continue };
            let own = self.intern(&own);
            let quota = self.quota_id(group, own);
            let route = routes.entry((tier, quota, stand_in)).or_default();
            (route.model, route.group, route.quota, route.stand_in) = (model, group, quota, stand_in);
            route.members.push(member);
        }
        // The sort is stable, so members of one tier keep their order.
        routes.sort_by_key(|(tier, ..), _| *tier);
        (self.models[model as usize].tiers, self.models[model as usize].unavailable) = Default::default();
        routes.into_iter().for_each(|((tier, ..), route)| self.add_route(tier, route));
    }

    /// Adds a route to the last tier of its model, or to a new tier.
    fn add_route(&mut self, number: u32, mut route: Route) {
        let id = self.routes.len() as u32;
        let tiers = &mut self.models[route.model as usize].tiers;
        if tiers.last().is_none_or(|tier| tier.number != number) {
            tiers.push(Tier { number, ..Tier::default() });
        }
        route.tier = tiers.len() as u32 - 1;
        let (tier, mut weight) = (&mut tiers[route.tier as usize], 0);
        for member in &route.members {
            let member = &mut self.members[*member as usize];
            member.routes.push(id);
            weight += member.spec.weight;
        }
        tier.max_weight = tier.max_weight.max(weight);
        tier.routes.push(id);
        // The capacity is reserved here, so that no call allocates when a route takes calls again.
        tier.open.reserve(tier.routes.len());
        route.open.reserve(route.members.len());
        self.groups[route.group as usize].routes.push(id);
        self.routes.push(route);
    }

    /// Schedules a refresh of every part at the end of its parking, and refreshes all members and groups now.
    pub(crate) fn schedule_returns(&mut self, now: Time) {
        let parked = self.parked().map(|(part, parking)| (parking.opens_at(), part));
        let starts = self.live_members().map(|id| (self.members[id as usize].starting_until, Part::Member(id)));
        self.returns = parked.chain(starts).map(Reverse).collect();
        self.refresh_routes(0, now);
        self.queues.wake_heads();
    }
}

/// Returns the largest number of models with a state of their own, for a number of members.
pub(super) fn most_models(members: usize) -> usize {
    MAX_MODELS.min(MAX_MODELS_OF_MEMBERS / members.max(1))
}

/// Returns the ids of the parts for which `condition` holds, in descending order.
fn ids_where<T>(all: &[T], condition: impl Fn(u32, &T) -> bool) -> Vec<u32> {
    let ids = (0..all.len() as u32).rev();
    ids.filter(|id| condition(*id, &all[*id as usize])).collect()
}

/// Stores a part under the free id, or at the end if there is no free id. Returns the id of the part.
fn put<T>(all: &mut Vec<T>, free: Option<u32>, part: T) -> u32 {
    match free {
        Some(id) => all[id as usize] = part,
        None => all.push(part),
    }
    free.unwrap_or(all.len() as u32 - 1)
}
