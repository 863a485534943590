//! Sessions: a secret in a cookie, whose hash is in the store.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use nahook_control::{
    Actor, KeyEntry, KeyHash, KeyStore as _, ManagementError, ManagementStore as _, PageSession,
    Select, SessionHolder, SessionStore, TokenHolder,
};
use nahook_core::id::WorkspaceId;
use nahook_core::{IdSource as _, RandomIds, StoreError, Timestamp};

use crate::access::{Reach, Visitor, customer};
use crate::brand;
use crate::site::{Audience, Site};
use crate::text::hex;

/// Time after which an unused session ends.
const IDLE: Duration = Duration::from_hours(2);
/// Time after which an operator's session ends, however much it is used.
const LASTS: Duration = Duration::from_hours(12);
/// A use is noted when the last one that was noted is so long ago.
const TOUCH_EVERY: Duration = Duration::from_mins(1);
/// Time for which a [sign-in link](new_sign_in_link) can be used.
pub const SIGN_IN_LINK_LASTS: Duration = Duration::from_mins(10);

/// Largest number of bytes of a session's own look. Its texts have up to 63 characters, each up to four bytes that are written as three.
const LOOK_LEN_MAX: usize = 1024;

/// A new secret of 256 bits.
pub(crate) fn new_secret() -> String {
    format!("{:032x}{:032x}", RandomIds.random(), RandomIds.random())
}

/// Hashes a secret for one use: a link is no session, and neither says anything about the token of a form.
fn hash_for(purpose: &str, secret: &str) -> KeyHash {
    KeyHash::of(&format!("{purpose}:{secret}"))
}

/// Makes the code of a link that signs in once, within [ten minutes](SIGN_IN_LINK_LASTS), as the holder of the management token
/// would: `/dashboard/sign-in?link=` and the code.
pub async fn new_sign_in_link(
    sessions: &dyn SessionStore,
    workspace: WorkspaceId,
    token: &str,
    now: Timestamp,
) -> Result<String, StoreError> {
    let code = new_secret();
    let link = PageSession {
        id: hash_for("link", &code),
        workspace,
        holder: SessionHolder::Token(KeyHash::of(token)),
        created_at: now,
        seen_at: now,
        expires_at: now.saturating_add(SIGN_IN_LINK_LASTS),
    };
    sessions.start_session(&link).await?;
    Ok(code)
}

/// The secret in the visitor's cookie, if it has the form of one.
pub(crate) fn secret<'a>(site: &Site, headers: &'a HeaderMap) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == site.cookie());
    let (_, secret) = ours.next()?;
    let (random, look) = parts(secret);
    let is_random = random.len() == 64 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_random && look.len() <= LOOK_LEN_MAX).then_some(secret)
}

/// The random part of a secret and the session's own look behind it, if it has one. The store has the hash of both: whoever changes the
/// look has no session.
fn parts(secret: &str) -> (&str, &str) {
    secret.split_once('.').unwrap_or((secret, ""))
}

/// The session's own look.
pub(crate) fn look(secret: &str) -> &str {
    parts(secret).1
}

/// The token that every form of that cookie's holder carries.
pub(crate) fn form_token(secret: &str) -> String {
    hex(hash_for("form", secret).as_bytes())
}

/// The value of a header that sets the cookie.
pub(crate) fn set_cookie(site: &Site, secret: &str) -> String {
    format!("{}={secret}; {}", site.cookie(), site.cookie_attributes())
}

/// The value of a header that removes the cookie.
pub(crate) fn clear_cookie(site: &Site) -> String {
    format!(
        "{}=; Max-Age=0; {}",
        site.cookie(),
        site.cookie_attributes()
    )
}

impl Site {
    /// Starts a session of an operator. `None` if the token is worth nothing.
    pub(crate) async fn sign_in_with_token(
        &self,
        token: &str,
    ) -> Result<Option<String>, StoreError> {
        let hash = KeyHash::of(token);
        let Some(TokenHolder { workspace, .. }) = self.token(&hash).await? else {
            return Ok(None);
        };
        let until = self.now().saturating_add(LASTS);
        let holder = SessionHolder::Token(hash);
        let secret = self.start(workspace, holder, "", until).await?;
        Ok(Some(secret))
    }

    /// Starts a session by a link, which is used up. `None` if it was used before or is too old.
    pub(crate) async fn sign_in_with_link(&self, code: &str) -> Result<Option<String>, StoreError> {
        let sessions = &self.ports.sessions;
        let id = hash_for("link", code);
        let Some(link) = sessions.session(&id).await? else {
            return Ok(None);
        };
        // Of several who try at once it is one's.
        if !sessions.end_session(&id).await? || link.expires_at <= self.now() {
            return Ok(None);
        }
        let SessionHolder::Token(hash) = link.holder else {
            return Ok(None);
        };
        if self.token(&hash).await?.is_none() {
            return Ok(None);
        }
        let until = self.now().saturating_add(LASTS);
        let secret = self.start(link.workspace, link.holder, "", until).await?;
        Ok(Some(secret))
    }

    /// Starts a customer's session by the code of a portal session, which is used up. `None` if it was used before or is too old.
    pub(crate) async fn sign_in_with_code(&self, code: &str) -> Result<Option<String>, StoreError> {
        let taken = self
            .ports
            .sessions
            .take_portal_code(&KeyHash::of(code))
            .await?;
        let now = self.now();
        let Some(taken) = taken.filter(|taken| taken.code_expires_at > now) else {
            return Ok(None);
        };
        let holder = SessionHolder::Application(taken.application, taken.role);
        let look = brand::look(&taken.metadata);
        let secret = self
            .start(taken.workspace, holder, &look, taken.expires_at)
            .await?;
        Ok(Some(secret))
    }

    async fn start(
        &self,
        workspace: WorkspaceId,
        holder: SessionHolder,
        look: &str,
        expires_at: Timestamp,
    ) -> Result<String, StoreError> {
        let (mut secret, now) = (new_secret(), self.now());
        if !look.is_empty() {
            secret = format!("{secret}.{look}");
        }
        let session = PageSession {
            id: hash_for("session", &secret),
            workspace,
            holder,
            created_at: now,
            seen_at: now,
            expires_at,
        };
        self.ports.sessions.start_session(&session).await?;
        Ok(secret)
    }

    /// The visitor whose session has that secret. Its token, or its application, is looked up each time: what is revoked or deleted
    /// ends the session at once.
    pub(crate) async fn visitor(&self, secret: &str) -> Result<Option<Visitor>, StoreError> {
        let id = hash_for("session", secret);
        let Some(session) = self.ports.sessions.session(&id).await? else {
            return Ok(None);
        };
        let now = self.now();
        let unused = now.saturating_since(session.seen_at);
        if session.expires_at <= now || unused >= IDLE {
            self.ports.sessions.end_session(&id).await?;
            return Ok(None);
        }
        let found = match (self.audience, session.holder) {
            (Audience::Operators, SessionHolder::Token(hash)) => {
                self.operator(&session, &hash).await?
            }
            (Audience::Customers, SessionHolder::Application(..)) => {
                self.customer(&session).await?
            }
            _ => None,
        };
        let Some((actor, reach)) = found else {
            return Ok(None);
        };
        if unused >= TOUCH_EVERY {
            self.ports.sessions.touch_session(&id, now).await?;
        }
        Ok(Some(Visitor {
            workspace: session.workspace,
            actor,
            reach,
            session: Some(id),
        }))
    }

    async fn operator(
        &self,
        session: &PageSession,
        hash: &KeyHash,
    ) -> Result<Option<(Actor, Reach)>, StoreError> {
        let Some(holder) = self.token(hash).await? else {
            return Ok(None);
        };
        if holder.workspace != session.workspace {
            return Ok(None);
        }
        let store = &self.ports.api.ports().store;
        let selection = [Select::ManagementToken(holder.token)];
        let rows = store.read(&holder.workspace, &selection).await?;
        let name = rows.management_tokens.into_iter().next();
        let actor = Actor::token(holder.token, name.map(|row| row.name).unwrap_or_default());
        let reach = if holder.is_read_only {
            Reach::WorkspaceToRead
        } else {
            Reach::Workspace
        };
        Ok(Some((actor, reach)))
    }

    async fn customer(&self, session: &PageSession) -> Result<Option<(Actor, Reach)>, StoreError> {
        let SessionHolder::Application(id, role) = session.holder else {
            return Ok(None);
        };
        let management = self.ports.api.management();
        match management.application(&session.workspace, id).await {
            Ok(application) => {
                let actor = customer(&application, role);
                let reach = Reach::Application(Box::new(application), role);
                Ok(Some((actor, reach)))
            }
            Err(ManagementError::Store(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The management token with that hash, if it can be used.
    async fn token(&self, hash: &KeyHash) -> Result<Option<TokenHolder>, StoreError> {
        let found = self.ports.api.ports().keys.management_token(hash).await?;
        let usable = found.filter(|entry| !entry.disabled);
        Ok(usable.map(|KeyEntry { identity, .. }| identity))
    }

    /// Ends the visitor's session, or every session of its holder.
    pub(crate) async fn sign_out(
        &self,
        visitor: &Visitor,
        everywhere: bool,
    ) -> Result<(), StoreError> {
        let Some(id) = &visitor.session else {
            return Ok(());
        };
        let sessions = &self.ports.sessions;
        if everywhere && let Some(session) = sessions.session(id).await? {
            sessions.end_sessions(&session.holder).await?;
        }
        sessions.end_session(id).await?;
        Ok(())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.api.now()
    }
}
