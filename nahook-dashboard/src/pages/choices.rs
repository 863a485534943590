//! The field of a form that takes an event type.

use maud::{Markup, html};
use nahook_control::{EventTypeRecord, ManagementStore as _, Select};
use nahook_core::id::EventTypeId;

use crate::error::PageError;
use crate::page::field;
use crate::view::View;

/// Event types up to which a form has a list of them. Beyond it has a field for the name.
const CHOICES_MAX: usize = 100;

/// The workspace's event types, for a form that takes one of them.
pub(super) struct Choices(Vec<EventTypeRecord>);

impl Choices {
    pub(super) async fn read(view: &View) -> Result<Self, PageError> {
        let store = &view.site.ports.api.ports().store;
        let found = store.read(view.workspace(), &[Select::EventTypes]).await?;
        let mut types = found.event_types;
        types.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(Self(types))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The event type with that id or of that name; what looks like an id may be that of one that is deleted.
    pub(super) fn chosen(&self, text: &str) -> Result<Option<EventTypeId>, PageError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let is_it = |row: &&EventTypeRecord| row.id.as_str() == text || row.name.as_str() == text;
        let known = self.0.iter().find(is_it).map(|row| row.id);
        let given = || {
            text.parse()
                .map_err(|_| PageError::invalid("There is no such event type"))
        };
        known.map_or_else(given, Ok).map(Some)
    }

    /// The field of a form. `none` stands for no choice; one has to be made if it is empty.
    pub(super) fn field(&self, name: &str, chosen: Option<EventTypeId>, none: &str) -> Markup {
        let mut types = self.0.iter();
        let current = chosen.and_then(|id| types.find(|row| row.id == id));
        let current = current.map_or("", |row| row.name.as_str());
        let input = html! {
            @if self.0.len() > CHOICES_MAX {
                input id=(name) type="text" name=(name) value=(current) placeholder="order.paid" required[none.is_empty()];
            } @else { select id=(name) name=(name) {
                @if !none.is_empty() { option value="" { (none) } }
                @for row in &self.0 { option value=(row.id) selected[Some(row.id) == chosen] { (row.name) } }
            } }
        };
        field(name, "Event type", &input, "")
    }
}
