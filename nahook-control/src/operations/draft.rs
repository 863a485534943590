//! A decision in the making.

use crate::{
    Actor, ApplicationRecord, AuditEntry, Change, EndpointRecord, EnvironmentRecord,
    EventTypeRecord, ManagementError, Planned, Record, Snapshot, Verb,
};
use nahook_core::id::{
    ApplicationId, EndpointId, EnvironmentId, EventTypeId, MessageId, WorkspaceId,
};
use nahook_core::{IdSource, Timestamp};

/// The rows that are known and the changes decided so far, each with its entry in the audit log.
pub(super) struct Draft<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) rows: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) ids: &'a dyn IdSource,
    actor: &'a Actor,
    planned: Planned,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        workspace: WorkspaceId,
        rows: &'a Snapshot,
        actor: &'a Actor,
        now: Timestamp,
        ids: &'a dyn IdSource,
    ) -> Self {
        Self {
            workspace,
            rows,
            now,
            ids,
            actor,
            planned: Planned::default(),
        }
    }

    pub(super) fn into_planned(self) -> Planned {
        self.planned
    }

    /// 128 bits for an id: they sort by time.
    pub(super) fn draw(&self) -> u128 {
        MessageId::from_parts(self.now, self.ids.random()).as_bits()
    }

    /// Makes a row, unless the workspace has as many of its kind as it may have.
    pub(super) fn create(&mut self, record: Record) -> Result<(), ManagementError> {
        if let Some(kind) = record.kind() {
            let plan = self.rows.workspaces.first().map(|row| row.plan);
            let max = kind.max(&plan.unwrap_or_default());
            let there = self.rows.row_counts.get(&kind).copied().unwrap_or(0);
            let made = self.planned.changes.iter();
            let made = made.filter(|change| change.record.kind() == Some(kind));
            if there.saturating_add(made.count() as u64) >= max {
                let rule = format!("a workspace has at most {max} {}", kind.plural());
                return Err(ManagementError::conflict(rule));
            }
        }
        self.note(Verb::Create, record, &[]);
        Ok(())
    }

    /// Replaces the row; the audit log names the fields that differ.
    pub(super) fn update(&mut self, record: Record, fields: &[&str]) {
        self.note(Verb::Update, record, fields);
    }

    pub(super) fn remove(&mut self, record: Record) {
        self.note(Verb::Remove, record, &[]);
    }

    /// Replaces the row and says what was done in a word of its own.
    pub(super) fn update_as(&mut self, done: &str, kind: &str, id: String, record: Record) {
        let entry = AuditEntry::new(
            self.workspace,
            self.actor,
            (kind, id),
            done,
            self.now,
            self.ids,
        );
        self.planned.audit.push(entry);
        self.planned.changes.push(Change::new(Verb::Update, record));
    }

    /// Says what was done where no row changes with it.
    pub(super) fn note_only(
        &mut self,
        kind: &str,
        id: &str,
        done: &str,
        details: &[(&'static str, String)],
    ) {
        let resource = (kind, id.to_owned());
        let entry = AuditEntry::new(
            self.workspace,
            self.actor,
            resource,
            done,
            self.now,
            self.ids,
        );
        let with = |entry: AuditEntry, (name, value): &(&str, String)| entry.with(name, value);
        self.planned.audit.push(details.iter().fold(entry, with));
    }

    fn note(&mut self, verb: Verb, record: Record, fields: &[&str]) {
        let change = Change::new(verb, record);
        let mut entry = AuditEntry::of(&change, self.actor, self.now, self.ids);
        if !fields.is_empty() {
            entry = entry.with("fields", fields.join(","));
        }
        self.planned.audit.push(entry);
        self.planned.changes.push(change);
    }

    pub(super) fn endpoint(&self, id: EndpointId) -> Result<&'a EndpointRecord, ManagementError> {
        let mut rows = self.rows.endpoints.iter();
        rows.find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("endpoint"))
    }

    pub(super) fn event_type(
        &self,
        id: EventTypeId,
    ) -> Result<&'a EventTypeRecord, ManagementError> {
        let mut rows = self.rows.event_types.iter();
        rows.find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("event type"))
    }

    pub(super) fn environment(
        &self,
        id: EnvironmentId,
    ) -> Result<&'a EnvironmentRecord, ManagementError> {
        let mut rows = self.rows.environments.iter();
        rows.find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("environment"))
    }

    pub(super) fn application(
        &self,
        id: ApplicationId,
    ) -> Result<&'a ApplicationRecord, ManagementError> {
        let mut rows = self.rows.applications.iter();
        rows.find(|row| row.id == id)
            .ok_or(ManagementError::NotFound("application"))
    }
}
