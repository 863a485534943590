//! Endpoints, what they are subscribed to, and event types.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;

use nahook_control::{
    ApplyMode, Catalog as _, EndpointPatch, EndpointRecord, EndpointSpec, EventTypeSpec,
    EventTypeView, ManagementError, Manifest, NewApiKey, PatternRecord, Record, SecretText,
    SubscriptionView, WorkspaceSpec,
};
use nahook_core::id::{EndpointId, EventTypeId};
use nahook_core::{EventTypeName, EventTypeSelector, IdSource as _, RandomIds};

use crate::{Hooks, HooksError};

/// An endpoint to be made, by [`Hooks::create_endpoint`]: awaiting it makes the endpoint with its subscriptions, or nothing.
/// The answer has the secret that its receiver verifies with.
///
/// ```
/// use nahook_embed::Hooks;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let hooks = Hooks::test().await?;
/// let mut endpoint = hooks.create_endpoint("https://customer.example/hooks");
/// for event_type in ["order.*", "invoice.paid"] {
///     endpoint = endpoint.on(event_type);
/// }
/// let endpoint = endpoint.description("the customer's billing").await?;
/// assert_eq!(hooks.patterns(endpoint.id).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is made before it is awaited"]
pub struct EndpointBuilder<'a> {
    hooks: &'a Hooks,
    url: String,
    selectors: Vec<String>,
    description: Option<String>,
    secret: Option<String>,
}

impl fmt::Debug for EndpointBuilder<'_> {
    /// Leaves out the secret, and the URL, which may be as good as one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointBuilder")
            .field("selectors", &self.selectors)
            .finish_non_exhaustive()
    }
}

impl EndpointBuilder<'_> {
    /// Subscribes it to an event type, which is made if it does not exist, or to every event type that a pattern matches, now and
    /// later: `order.*` (exactly one more segment), `order.**` (one or more), `*` (every event type). Repeating it changes nothing.
    pub fn on(mut self, event_type_or_pattern: &str) -> Self {
        self.selectors.push(event_type_or_pattern.to_owned());
        self
    }

    /// A description for people.
    pub fn description(mut self, description: &str) -> Self {
        self.description = Some(description.to_owned());
        self
    }

    /// The `whsec_…` secret that signs. Otherwise one is drawn.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    async fn create(self) -> Result<EndpointRecord, HooksError> {
        let selectors = self.selectors.iter();
        let selectors = selectors.map(|text| EventTypeSelector::new(text));
        let selectors: Vec<_> = selectors.collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        let names = selectors.iter().filter_map(|selector| match selector {
            EventTypeSelector::Name(name) => seen.insert(name).then(|| name.clone()),
            EventTypeSelector::Pattern(_) => None,
        });
        let event_types = names.map(EventTypeSpec::named).collect();
        let id = EndpointId::from_bits(RandomIds.random());
        let workspace = self.hooks.workspace;
        let endpoint = EndpointSpec {
            id: Some(id),
            url: self.url,
            description: self.description,
            secret: self.secret,
            event_types: Some(selectors),
            ..EndpointSpec::default()
        };
        let name = self.hooks.shared.workspace_name(&workspace).await?;
        let spec = WorkspaceSpec {
            id: Some(workspace),
            name: name.ok_or(ManagementError::NotFound("workspace"))?,
            event_types,
            endpoints: vec![endpoint],
            ..WorkspaceSpec::default()
        };
        let manifest = Manifest::from(spec);
        let catalog = &self.hooks.shared.backend.catalog;
        let changes = catalog
            .apply_as(&Hooks::actor(), &manifest, ApplyMode::Commit)
            .await?;
        // Read from the answer: a second call could fail although the endpoint exists.
        let mut made = changes
            .into_iter()
            .filter_map(|change| match change.record {
                Record::Endpoint(endpoint) if endpoint.id == id => Some(endpoint),
                _ => None,
            });
        let made = made.next();
        Ok(made.ok_or(ManagementError::NotFound("endpoint"))?)
    }
}

impl<'a> IntoFuture for EndpointBuilder<'a> {
    type Output = Result<EndpointRecord, HooksError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.create())
    }
}

impl Hooks {
    /// Makes an endpoint that takes webhooks at this URL, once it is awaited.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// let endpoint = hooks
    ///     .create_endpoint("https://customer.example/hooks")
    ///     .on("order.paid")
    ///     .on("order.refunded")
    ///     .description("the customer's billing")
    ///     .await?;
    /// println!("{}", endpoint.secret.expose()); // for the receiver
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_endpoint(&self, url: &str) -> EndpointBuilder<'_> {
        EndpointBuilder {
            hooks: self,
            url: url.to_owned(),
            selectors: Vec::new(),
            description: None,
            secret: None,
        }
    }

    /// The endpoints, the oldest first.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// for endpoint in hooks.endpoints().await? {
    ///     println!("{} {}", endpoint.id, endpoint.url);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn endpoints(&self) -> Result<Vec<EndpointRecord>, HooksError> {
        Ok(self.shared.management.endpoints(&self.workspace).await?)
    }

    /// The endpoint, with its secret.
    pub async fn endpoint(&self, id: EndpointId) -> Result<EndpointRecord, HooksError> {
        Ok(self.shared.management.endpoint(&self.workspace, id).await?)
    }

    /// Changes what the patch names; the rest stays.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::control::EndpointPatch;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let patch = EndpointPatch {
    ///     url: Some("https://customer.example/new".to_owned()),
    ///     ..EndpointPatch::default()
    /// };
    /// let endpoint = hooks.update_endpoint(endpoint.id, patch).await?;
    /// assert_eq!(endpoint.url, "https://customer.example/new");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_endpoint(
        &self,
        id: EndpointId,
        patch: EndpointPatch,
    ) -> Result<EndpointRecord, HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let updated = management.update_endpoint(&self.workspace, &actor, id, patch);
        Ok(updated.await?)
    }

    /// Lets deliveries be queued for it and attempted again; it starts without failures.
    pub async fn enable_endpoint(&self, id: EndpointId) -> Result<EndpointRecord, HooksError> {
        self.set_active(id, true).await
    }

    /// Queues no more for it, and ends what waits as failed.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// hooks.disable_endpoint(endpoint.id).await?;
    /// assert!(!hooks.endpoint(endpoint.id).await?.is_active);
    /// hooks.enable_endpoint(endpoint.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn disable_endpoint(&self, id: EndpointId) -> Result<EndpointRecord, HooksError> {
        self.set_active(id, false).await
    }

    async fn set_active(
        &self,
        id: EndpointId,
        is_active: bool,
    ) -> Result<EndpointRecord, HooksError> {
        let patch = EndpointPatch {
            is_active: Some(is_active),
            ..EndpointPatch::default()
        };
        self.update_endpoint(id, patch).await
    }

    /// Removes the endpoint and its subscriptions. What was queued for it ends as failed; its history stays.
    pub async fn delete_endpoint(&self, id: EndpointId) -> Result<(), HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let deleted = management.delete_endpoint(&self.workspace, &actor, id);
        Ok(deleted.await?)
    }

    /// Gives the endpoint a new secret; the old one signs beside it for 24 hours.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// let rotated = hooks.rotate_secret(endpoint.id).await?;
    /// assert_ne!(rotated.secret, endpoint.secret);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rotate_secret(&self, id: EndpointId) -> Result<EndpointRecord, HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let rotated = management.rotate_secret(&self.workspace, &actor, id);
        Ok(rotated.await?)
    }

    /// Returns the endpoint's subscriptions by name, the oldest first.
    pub async fn subscriptions(
        &self,
        endpoint: EndpointId,
    ) -> Result<Vec<SubscriptionView>, HooksError> {
        let management = &self.shared.management;
        Ok(management.subscriptions(&self.workspace, endpoint).await?)
    }

    /// Returns the endpoint's subscriptions by pattern, the oldest first.
    pub async fn patterns(&self, endpoint: EndpointId) -> Result<Vec<PatternRecord>, HooksError> {
        let management = &self.shared.management;
        Ok(management.patterns(&self.workspace, endpoint).await?)
    }

    /// Subscribes the endpoint to an event type, which is made if it does not exist, or to a [pattern](EndpointBuilder::on).
    /// Repeating it changes nothing.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// # let endpoint = hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// hooks.subscribe(endpoint.id, "order.refunded").await?;
    /// hooks.subscribe(endpoint.id, "user.*").await?;
    /// assert_eq!(hooks.subscriptions(endpoint.id).await?.len(), 2);
    /// assert_eq!(hooks.patterns(endpoint.id).await?.len(), 1);
    /// hooks.unsubscribe(endpoint.id, "order.paid").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe(
        &self,
        endpoint: EndpointId,
        event_type_or_pattern: &str,
    ) -> Result<(), HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        match EventTypeSelector::new(event_type_or_pattern)? {
            EventTypeSelector::Name(name) => {
                let id = self.ensure_event_type(name.as_str()).await?;
                let subscribed = management.subscribe(&self.workspace, &actor, endpoint, vec![id]);
                subscribed.await?;
            }
            EventTypeSelector::Pattern(pattern) => {
                let subscribed =
                    management.subscribe_to_pattern(&self.workspace, &actor, endpoint, pattern);
                subscribed.await?;
            }
        }
        Ok(())
    }

    /// Ends the endpoint's subscription to an event type by its name, or to a pattern. Without one nothing changes; what it is
    /// subscribed to in another way goes on.
    pub async fn unsubscribe(
        &self,
        endpoint: EndpointId,
        event_type_or_pattern: &str,
    ) -> Result<(), HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let workspace = &self.workspace;
        match EventTypeSelector::new(event_type_or_pattern)? {
            EventTypeSelector::Name(name) => {
                let mut found = self.subscriptions(endpoint).await?.into_iter();
                if let Some(found) = found.find(|view| view.event_type_name == name) {
                    let event_type = found.subscription.event_type;
                    let ended = management.unsubscribe(workspace, &actor, endpoint, event_type);
                    ended.await?;
                }
            }
            EventTypeSelector::Pattern(pattern) => {
                let mut found = self.patterns(endpoint).await?.into_iter();
                if let Some(found) = found.find(|row| row.pattern == pattern) {
                    let ended =
                        management.unsubscribe_from_pattern(workspace, &actor, endpoint, found.id);
                    ended.await?;
                }
            }
        }
        Ok(())
    }

    /// Makes a key for the Ingestion API, for callers from outside of the app. Its secret is in the answer and nowhere else.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// let key = hooks.create_api_key("partner").await?;
    /// println!("Authorization: Bearer {}", key.expose());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_api_key(&self, name: &str) -> Result<SecretText, HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let new = NewApiKey {
            name: name.to_owned(),
            ..NewApiKey::default()
        };
        let created = management.create_api_key(&self.workspace, &actor, new);
        Ok(created.await?.1)
    }

    /// Makes a token for the Management API. Its secret is in the answer and nowhere else.
    pub async fn create_management_token(&self, name: &str) -> Result<SecretText, HooksError> {
        let (management, actor) = (&self.shared.management, Self::actor());
        let created = management.create_management_token(&self.workspace, &actor, name.to_owned());
        Ok(created.await?.1)
    }

    /// The event types with the number of their subscribers, the oldest first.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// hooks.ensure_event_type("order.paid").await?;
    /// assert_eq!(hooks.event_types().await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn event_types(&self) -> Result<Vec<EventTypeView>, HooksError> {
        Ok(self.shared.management.event_types(&self.workspace).await?)
    }

    /// The id of the event type with that name, which is made if it does not exist.
    pub async fn ensure_event_type(&self, name: &str) -> Result<EventTypeId, HooksError> {
        let name = EventTypeName::new(name)?;
        let catalog = &self.shared.backend.catalog;
        Ok(catalog.ensure_event_type(&name, &self.workspace).await?)
    }
}
