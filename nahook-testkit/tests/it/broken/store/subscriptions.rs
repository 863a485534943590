//! Broken look-ups.

use nahook_core::id::{EndpointId, EventTypeId};
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

impl SubscriptionStore for Broken {
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let (mut scope, mut event_type) = (*scope, event_type.clone());
        let everywhere = declare::scope(scope.workspace.as_str(), None);
        match self.bug {
            LeaksOtherEnvironments => scope = everywhere,
            LeaksOtherWorkspaces if scope.workspace.as_str() == "ws_nowhere" => {
                scope = declare::scope("ws_shop", None);
            }
            IgnoresCase => {
                event_type = declare::event_type_name(&event_type.as_str().to_ascii_lowercase());
            }
            _ => {}
        }
        let key = (scope, event_type.clone());
        if self.has(NeverForgetsALookUp)
            && let Some(known) = self.memory.lock().unwrap().look_ups.get(&key)
        {
            return Ok(known.clone());
        }
        let mut found = self.inner.subscribers(&event_type, &scope).await?;
        if self.has(ForgetsVisibility)
            && found
                .as_ref()
                .is_some_and(|found| found.endpoints.is_empty())
        {
            found = self.inner.subscribers(&event_type, &everywhere).await?;
        }
        let everybody = declare::scope("ws_shop", None);
        let ours = self.inner.subscribers(&event_type, &everybody).await?;
        if let Some(found) = &mut found {
            let mut endpoints = found.endpoints.to_vec();
            let is_other = |id: &EndpointId| !endpoints.contains(id);
            if self.has(LeaksPatterns) {
                let leaked = ours.into_iter().flat_map(|ours| ours.endpoints.to_vec());
                let leaked: Vec<_> = leaked.filter(is_other).collect();
                endpoints.extend(leaked);
            }
            match self.bug {
                SortsSubscribers => endpoints.sort(),
                RepeatsSubscribers => endpoints = [endpoints.clone(), endpoints].concat(),
                _ => {}
            }
            found.endpoints = endpoints.into();
        }
        match &found {
            None if self.has(UnknownIsEmpty) => {
                found = Some(Subscribers {
                    event_type: EventTypeId::from_bits(1),
                    endpoints: [].into(),
                });
            }
            Some(some) if self.has(EmptyIsUnknown) && some.endpoints.is_empty() => found = None,
            _ => {}
        }
        self.memory
            .lock()
            .unwrap()
            .look_ups
            .insert(key, found.clone());
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        let everywhere = declare::scope(scope.workspace.as_str(), None);
        let scope = match self.bug {
            LeaksOtherEnvironments => everywhere,
            _ => *scope,
        };
        let mut states = self.inner.endpoint_states(ids, &scope).await?;
        for state in &mut states {
            match (self.bug, *state) {
                (DisabledIsGone, EndpointState::Disabled) => *state = EndpointState::Unknown,
                (DisabledIsActive, EndpointState::Disabled) => *state = EndpointState::Active,
                _ => {}
            }
        }
        Ok(states)
    }
}
