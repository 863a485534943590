//! The table.

use nahook_core::id::ID_LEN_MAX;

use super::charset::Charset;
use super::form::{self, SECRET_LEN_MAX};
use super::text::Text;
use super::{Field, Row, Rule};
use crate::{API_KEY_PREFIX, MANAGEMENT_TOKEN_PREFIX};

/// Makes a module of each kind of row, with its fields, and the list of all.
macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $row:ident, $section:literal, $bodies:expr => { $($field:ident $name:literal $rule:expr;)* }
    )*) => {
        $(
            $(#[$doc])*
            pub mod $row {
                use super::*;
                $(
                    #[doc = concat!("The field `", $name, "`.")]
                    pub const $field: Field = Field { name: $name, rule: $rule };
                )*
                pub(super) const ROW: Row = Row {
                    section: $section,
                    bodies: &$bodies,
                    fields: &[$($field),*],
                };
            }
        )*
        /// Every kind of row.
        pub const ROWS: &[Row] = &[$($row::ROW),*];
    };
}

rows! {
    /// Workspaces.
    workspace, "workspaces", [] => {
        ID "id" ID_TEXT;
        NAME "name" NAME_TEXT;
    }
    /// Plans.
    plan, "plan", [] => {
        // The largest: a request is held in memory while it is read.
        PAYLOAD_LEN_MAX "payload_len_max" Rule::Whole { min: 2, max: 64 * 1024 * 1024 };
        WORKSPACE_RATE "workspace_rate" Rule::Free("a rate");
        KEY_RATE "key_rate" Rule::Free("a rate");
        DELIVERY_RATE "delivery_rate" Rule::Free("a rate");
        PENDING_MAX "pending_max" Rule::Whole { min: 1, max: u32::MAX };
        STORED_MIB_MAX "stored_mib_max" Rule::Whole { min: 1, max: u32::MAX };
        ENDPOINTS_MAX "endpoints_max" Rule::Whole { min: 0, max: u32::MAX };
    }
    /// Rates.
    rate, "workspace_rate", [] => {
        COUNT "count" RATE_PART;
        PERIOD_SECS "period_secs" RATE_PART;
        BURST "burst" RATE_PART;
    }
    /// Environments.
    environment, "environments", ["NewEnvironment", "EnvironmentUpdate"] => {
        ID "id" ID_TEXT;
        SLUG "slug" text(2, 50, SLUG_CHARS, "only lower-case letters, digits and hyphens");
        NAME "name" text(1, 50, NO_CONTROL, "none of them a control character");
        PUBLISHED "published" Rule::References;
    }
    /// Event types.
    event_type, "event_types", ["NewEventType", "EventTypeUpdate"] => {
        ID "id" ID_TEXT;
        NAME "name" Rule::Form(form::EVENT_TYPE_NAME);
        DESCRIPTION "description" DESCRIPTION_TEXT;
    }
    /// Applications.
    application, "applications", ["NewApplication", "ApplicationUpdate"] => {
        ID "id" ID_TEXT;
        NAME "name" NAME_TEXT;
        EXTERNAL_ID "external_id" NAME_TEXT;
        METADATA "metadata" Rule::Labels { max: nahook_core::Metadata::KEYS_MAX };
        // Clients keep it in 32 bits with a sign.
        MAX_ENDPOINTS "max_endpoints" Rule::Whole { min: 0, max: i32::MAX.unsigned_abs() };
        SHOW_EVENT_TYPES "show_event_types" FLAG;
    }
    /// Endpoints.
    endpoint, "endpoints", ["NewEndpoint", "EndpointUpdate"] => {
        ID "id" ID_TEXT;
        ENVIRONMENT "environment" Rule::Reference;
        ENVIRONMENT_ID "environment_id" Rule::Reference;
        APPLICATION "application" Rule::Reference;
        URL "url" Rule::Form(form::URL);
        WEBHOOK_URL "config.webhookUrl" Rule::Form(form::URL);
        KIND "type" Rule::Free("one of a list");
        CONFIG "config" Rule::Config;
        METADATA "metadata" Rule::Labels { max: nahook_core::Metadata::KEYS_MAX };
        DESCRIPTION "description" DESCRIPTION_TEXT;
        // RFC 7617: no colon in a user name.
        AUTH_USERNAME "auth_username" text(1, 255, USER_CHARS, "none of them a colon or a control character");
        AUTH_PASSWORD "auth_password" text(0, 1024, NO_CONTROL, "none of them a control character");
        SECRET "secret" Rule::Form(form::SIGNING_SECRET);
        IS_ACTIVE "is_active" FLAG;
        EVENT_TYPES "event_types" Rule::References;
    }
    /// Ingestion keys.
    api_key, "api_keys", ["ApiKeyCreation"] => {
        ID "id" ID_TEXT;
        NAME "name" NAME_TEXT;
        KEY "key" given_key(API_KEY_PREFIX);
        ENVIRONMENT "environment" Rule::Reference;
        ENVIRONMENT_ID "environment_id" Rule::Reference;
        ENDPOINT "endpoint" Rule::Reference;
        ENDPOINT_ID "endpoint_id" Rule::Reference;
        DISABLED "disabled" FLAG;
    }
    /// Management tokens.
    management_token, "management_tokens", ["ManagementTokenCreation"] => {
        ID "id" ID_TEXT;
        NAME "name" NAME_TEXT;
        TOKEN "token" given_key(MANAGEMENT_TOKEN_PREFIX);
        READ_ONLY "read_only" FLAG;
        DISABLED "disabled" FLAG;
    }
    /// States of keys and tokens.
    secret_state, "", ["SecretUpdate"] => {
        IS_ACTIVE "is_active" FLAG;
    }
    /// Portal sessions.
    portal_session, "", ["PortalSessionRequest"] => {
        ROLE "role" Rule::Free("one of a list");
        EXPIRES_IN_MINUTES "expires_in_minutes" Rule::Whole { min: 1, max: 60 };
        METADATA "metadata" Rule::Labels { max: 10 };
    }
    /// Subscriptions.
    subscription, "", ["NewSubscriptions"] => {
        EVENT_TYPE_IDS "event_type_ids" Rule::Items { max: 100 };
    }
    /// Patterns of event types.
    pattern, "", ["NewPattern"] => {
        PATTERN "pattern" Rule::Form(form::EVENT_TYPE_PATTERN);
    }
    /// Visibility of event types.
    visibility, "", ["VisibilityUpdate"] => {
        PUBLISHED "published" FLAG;
    }
    /// Redeliveries.
    redelivery, "", ["RetrySince"] => {
        SINCE "since" Rule::Free("an instant");
    }
    /// Events that are triggered.
    event, "", [] => {
        TYPE "event_type" Rule::Form(form::EVENT_TYPE_NAME);
        METADATA "metadata" Rule::Labels { max: nahook_core::Metadata::KEYS_MAX };
    }
    /// Test events.
    test_event, "", ["TestEvent"] => {
        PAYLOAD "payload" Rule::Object;
    }
}

const FLAG: Rule = Rule::Free("true or false");
const RATE_PART: Rule = Rule::Free("a part of a rate");

const NO_CONTROL: Charset = Charset::AllBut(&[('\0', '\x1f'), ('\x7f', '\u{9f}')]);
const USER_CHARS: Charset = Charset::AllBut(&[('\0', '\x1f'), (':', ':'), ('\x7f', '\u{9f}')]);
const SLUG_CHARS: Charset = Charset::Only(&[('a', 'z'), ('0', '9'), ('-', '-')]);
const ID_CHARS: Charset = Charset::Only(&[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]);
const VISIBLE: Charset = Charset::Only(&[('!', '~')]);

const ID_TEXT: Rule = text(
    1,
    ID_LEN_MAX,
    ID_CHARS,
    "only letters, digits and underscores",
);
/// Not every store keeps each control character, and no list shows them well.
const NAME_TEXT: Rule = Rule::Text(Text { max: 255, ..LINE });
/// A name of one line, without the bound of its length.
pub(super) const LINE: Text = Text {
    prefix: "",
    min: 1,
    max: usize::MAX,
    chars: NO_CONTROL,
    not_blank: true,
    words: "not all of them blank, none of them a control character",
};
/// Not every store can keep NUL.
const DESCRIPTION_TEXT: Rule = text(
    0,
    1024,
    Charset::AllBut(&[('\0', '\0')]),
    "none of them NUL",
);

const fn text(min: usize, max: usize, chars: Charset, words: &'static str) -> Rule {
    Rule::Text(Text {
        prefix: "",
        min,
        max,
        chars,
        not_blank: false,
        words,
    })
}

/// Fewest characters of a given key or token after its prefix: nobody guesses as many random ones.
const GIVEN_LEN_MIN: usize = 24;

/// A key or token that was given: it is sent in a header, and looked up as a whole.
const fn given_key(prefix: &'static str) -> Rule {
    Rule::Text(Text {
        prefix,
        min: prefix.len() + GIVEN_LEN_MIN,
        max: SECRET_LEN_MAX,
        chars: VISIBLE,
        not_blank: false,
        words: "only visible ASCII",
    })
}
