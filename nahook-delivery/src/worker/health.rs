//! Collects the health of endpoints and reports it to the directory.

use std::collections::HashMap;

use nahook_control::{HealthReport, HealthState};
use nahook_core::StoreError;
use nahook_core::id::{EndpointId, WorkspaceId};
use tokio::time::Instant;

use super::events::EventSender;
use super::observe;
use super::settling::backoff;

/// Failures in a row after which reports are dropped: the next attempt reports anew.
const FAILURES_MAX: u32 = 5;

#[derive(Debug)]
pub(super) struct Health {
    unreported: HashMap<EndpointId, HealthState>,
    /// Workspaces of endpoints that are to be disabled.
    disabling: HashMap<EndpointId, WorkspaceId>,
    is_reporting: bool,
    failures: u32,
    not_before: Instant,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            unreported: HashMap::new(),
            disabling: HashMap::new(),
            is_reporting: false,
            failures: 0,
            not_before: now,
        }
    }

    /// Notes what an attempt has told.
    pub(super) fn learn(
        &mut self,
        endpoint: EndpointId,
        workspace: WorkspaceId,
        state: HealthState,
    ) {
        if state == HealthState::Disable {
            self.disabling.insert(endpoint, workspace);
        }
        let known = self.unreported.get(&endpoint).copied();
        self.unreported.insert(endpoint, together(known, state));
    }

    /// Returns the reports that are due now, if any; [`reported`](Self::reported) has to follow.
    pub(super) fn due(&mut self, now: Instant) -> Option<Vec<HealthReport>> {
        if self.is_reporting || self.unreported.is_empty() || now < self.not_before {
            return None;
        }
        self.is_reporting = true;
        let reports = self.unreported.drain();
        let reports = reports.map(|(endpoint, state)| HealthReport { endpoint, state });
        Some(reports.collect())
    }

    /// Takes the result of reporting.
    pub(super) fn reported(
        &mut self,
        reports: Vec<HealthReport>,
        answer: Result<(), StoreError>,
        events: &EventSender,
    ) {
        self.is_reporting = false;
        let Err(error) = answer else {
            self.failures = 0;
            for HealthReport { endpoint, state } in reports {
                if state == HealthState::Disable
                    && let Some(workspace) = self.disabling.remove(&endpoint)
                {
                    observe::disabled(events, workspace, endpoint);
                }
            }
            return;
        };
        self.failures += 1;
        if self.failures > FAILURES_MAX {
            observe::call_failed("report", &error, "dropped");
            self.failures = 0;
            for report in &reports {
                self.disabling.remove(&report.endpoint);
            }
            return;
        }
        observe::call_failed("report", &error, "reporting again");
        self.not_before = Instant::now() + backoff(self.failures);
        for HealthReport { endpoint, state } in reports {
            let since = self.unreported.get(&endpoint).copied();
            let both = since.map_or(state, |since| together(Some(state), since));
            self.unreported.insert(endpoint, both);
        }
    }

    /// Returns the instant to call [`due`](Self::due) again, if only time is missing.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let waits = !self.is_reporting && !self.unreported.is_empty();
        waits.then_some(self.not_before)
    }

    /// Makes what waits due at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.not_before = now;
    }

    pub(super) fn is_settled(&self) -> bool {
        !self.is_reporting && self.unreported.is_empty()
    }
}

/// Merges two consecutive reports on one endpoint.
fn together(earlier: Option<HealthState>, later: HealthState) -> HealthState {
    match (earlier, later) {
        (Some(HealthState::Disable), _) => HealthState::Disable,
        (Some(HealthState::FailingSince(one)), HealthState::FailingSince(other)) => {
            HealthState::FailingSince(one.min(other))
        }
        _ => later,
    }
}

#[cfg(test)]
mod tests {
    use nahook_core::Timestamp;

    use super::*;

    fn workspace() -> WorkspaceId {
        WorkspaceId::from_bits(1)
    }

    fn failing(at: u64) -> HealthState {
        HealthState::FailingSince(Timestamp::from_millis(at))
    }

    #[test]
    fn reports_on_one_endpoint_are_merged() {
        let (disable, healthy) = (HealthState::Disable, HealthState::Healthy);
        for (earlier, later, both) in [
            (failing(5), failing(3), failing(3)),
            (failing(3), failing(5), failing(3)),
            (failing(3), healthy, healthy),
            (healthy, failing(5), failing(5)),
            (disable, healthy, disable),
            (disable, failing(5), disable),
            (failing(3), disable, disable),
        ] {
            assert_eq!(
                together(Some(earlier), later),
                both,
                "{earlier:?} {later:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learnt_while_reporting_failed_is_newer() {
        let endpoint = EndpointId::new("ep_a").unwrap();
        let now = Instant::now();
        let mut health = Health::new(now);
        health.learn(endpoint, workspace(), failing(3));
        let reports = health.due(now).unwrap();
        assert_eq!(health.due(now), None, "one report at a time");
        health.learn(endpoint, workspace(), HealthState::Healthy);
        health.reported(
            reports,
            Err(StoreError::unavailable("planted")),
            &EventSender::default(),
        );
        assert_eq!(health.due(now), None, "not at once");
        let state = HealthState::Healthy;
        let later = health.wake_at().unwrap();
        assert_eq!(
            health.due(later),
            Some(vec![HealthReport { endpoint, state }])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reports_that_always_fail_are_dropped() {
        let now = Instant::now();
        let mut health = Health::new(now);
        health.learn(
            EndpointId::new("ep_a").unwrap(),
            workspace(),
            HealthState::Disable,
        );
        // Once, and five times more.
        for _ in 0..6 {
            let at = health.wake_at().unwrap();
            let reports = health.due(at).unwrap();
            assert!(!health.is_settled());
            health.reported(
                reports,
                Err(StoreError::internal("planted")),
                &EventSender::default(),
            );
        }
        assert!(health.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_after_a_failure_can_be_hurried() {
        let now = Instant::now();
        let mut health = Health::new(now);
        assert_eq!((health.wake_at(), health.due(now)), (None, None));
        health.learn(
            EndpointId::new("ep_a").unwrap(),
            workspace(),
            HealthState::Disable,
        );
        let reports = health.due(now).unwrap();
        assert_eq!(health.wake_at(), None, "it is being reported");
        health.reported(
            reports.clone(),
            Err(StoreError::unavailable("planted")),
            &EventSender::default(),
        );
        assert_eq!(health.due(now), None);
        health.hurry(now);
        assert_eq!(
            (health.wake_at(), health.due(now)),
            (Some(now), Some(reports))
        );
    }
}
