//! Broken patterns: what is declared is changed before it is applied.

use std::collections::HashSet;

use nahook_control::{EndpointSpec, ManagementStore, Manifest, Select, WorkspaceSpec};
use nahook_core::{EventTypeName, EventTypeSelector, StoreError};
use nahook_testkit::declare;

use super::{Broken, Bug::*};

fn is_pattern(selector: &EventTypeSelector) -> bool {
    matches!(selector, EventTypeSelector::Pattern(_))
}

fn matches(selector: &EventTypeSelector, name: &EventTypeName) -> bool {
    matches!(selector, EventTypeSelector::Pattern(pattern) if pattern.matches(name))
}

impl Broken {
    pub(super) async fn with_broken_patterns(
        &self,
        manifest: &Manifest,
    ) -> Result<Manifest, StoreError> {
        let mut manifest = manifest.clone();
        for workspace in &mut manifest.workspaces {
            let names = self.event_types(workspace).await?;
            for endpoint in &mut workspace.endpoints {
                self.break_patterns(endpoint, &names);
            }
        }
        Ok(manifest)
    }

    /// The event types that there are, and those that are declared.
    async fn event_types(
        &self,
        workspace: &WorkspaceSpec,
    ) -> Result<HashSet<EventTypeName>, StoreError> {
        let declared = workspace.event_types.iter().map(|row| row.name.clone());
        let mut names: HashSet<_> = declared.collect();
        if let Some(id) = &workspace.id {
            let rows = self.inner.read(id, &[Select::EventTypes]).await?;
            names.extend(rows.event_types.into_iter().map(|row| row.name));
        }
        Ok(names)
    }

    fn break_patterns(&self, endpoint: &mut EndpointSpec, names: &HashSet<EventTypeName>) {
        let Some(selectors) = &mut endpoint.event_types else {
            return;
        };
        match self.bug {
            ForgetsPatterns => selectors.retain(|selector| !is_pattern(selector)),
            ExpandsPatternsOnce => {
                let patterns = selectors.clone();
                selectors.retain(|selector| !is_pattern(selector));
                let is_matched =
                    |name: &&EventTypeName| patterns.iter().any(|selector| matches(selector, name));
                let matched = names.iter().filter(is_matched);
                selectors.extend(matched.map(|name| name.clone().into()));
            }
            ShallowIsDeep | DeepIsShallow => {
                for selector in selectors.iter_mut().filter(|selector| is_pattern(selector)) {
                    let stem = selector.as_str().trim_end_matches('*');
                    let wildcard = if self.has(ShallowIsDeep) { "**" } else { "*" };
                    *selector = declare::selector(&format!("{stem}{wildcard}"));
                }
            }
            KeepsPatterns => {
                let mut memory = self.memory.lock().unwrap();
                let id = endpoint.id.unwrap();
                let kept = memory.patterns.entry(id).or_default();
                kept.extend(selectors.iter().filter(|it| is_pattern(it)).cloned());
                selectors.extend(kept.iter().cloned());
            }
            PatternsReplaceNames => {
                let patterns: Vec<_> = selectors
                    .iter()
                    .filter(|it| is_pattern(it))
                    .cloned()
                    .collect();
                selectors.retain(|selector| match selector {
                    EventTypeSelector::Name(name) => {
                        !patterns.iter().any(|pattern| matches(pattern, name))
                    }
                    EventTypeSelector::Pattern(_) => true,
                });
                // From then on the name is forgotten, whatever is declared.
                let mut memory = self.memory.lock().unwrap();
                let id = endpoint.id.unwrap();
                let known = memory.patterns.entry(id).or_default();
                known.extend(patterns);
                selectors.retain(|selector| match selector {
                    EventTypeSelector::Name(name) => !known.iter().any(|it| matches(it, name)),
                    EventTypeSelector::Pattern(_) => true,
                });
            }
            _ => {}
        }
    }
}
