//! Settings of the dashboard and the portal.

use std::net::SocketAddr;

use clap::Args;
use nahook_dashboard::{Accent, Brand};

use super::wrong;
use crate::ServerError;

/// The settings as given by flag, environment or file; each may be absent.
#[derive(Args, Clone, Debug, Default)]
pub struct PageArgs {
    /// URL that browsers reach this server by, as behind a proxy, such as `https://hooks.example.com`. With https, cookies are sent by
    /// https alone [default: the address that is listened on].
    #[arg(long, env = "NAHOOK_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Serve the dashboard and the portal [default: true].
    #[arg(long, env = "NAHOOK_DASHBOARD", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dashboard: Option<bool>,
    /// Name at the top of the portal [default: nahook].
    #[arg(long, env = "NAHOOK_PORTAL_NAME", value_name = "TEXT")]
    pub portal_name: Option<String>,
    /// One to three characters before that name.
    #[arg(long, env = "NAHOOK_PORTAL_LOGO", value_name = "TEXT")]
    pub portal_logo: Option<String>,
    /// Colour of the portal, such as #2f6feb.
    #[arg(long, env = "NAHOOK_PORTAL_ACCENT", value_name = "COLOUR")]
    pub portal_accent: Option<String>,
    /// Origins whose pages may frame the portal, comma-separated, such as `https://app.example.com`. It takes a public URL with https.
    #[arg(
        long,
        env = "NAHOOK_PORTAL_FRAME_ANCESTORS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub portal_frame_ancestors: Option<Vec<String>>,
}

/// The settings, checked.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// URL that browsers reach the server by, without a slash at its end; by the address that is listened on if absent.
    pub public_url: Option<String>,
    /// True if the pages are not served.
    pub is_off: bool,
    /// Look of the portal.
    pub brand: Brand,
    /// Origins that may frame the portal.
    pub frame_ancestors: Vec<String>,
}

impl PageArgs {
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            public_url: self.public_url.or(file.public_url),
            dashboard: self.dashboard.or(file.dashboard),
            portal_name: self.portal_name.or(file.portal_name),
            portal_logo: self.portal_logo.or(file.portal_logo),
            portal_accent: self.portal_accent.or(file.portal_accent),
            portal_frame_ancestors: self.portal_frame_ancestors.or(file.portal_frame_ancestors),
        }
    }

    pub(super) fn resolve(self) -> Result<Pages, ServerError> {
        let public_url = self.public_url.as_deref().map(public_url).transpose()?;
        let usual = Brand::default();
        let logo = self.portal_logo.unwrap_or(usual.logo);
        if logo.chars().count() > 3 {
            return Err(wrong("--portal-logo", "it has at most three characters"));
        }
        let accent = self.portal_accent.map(|text| text.parse::<Accent>());
        let accent = accent
            .transpose()
            .map_err(|reason| wrong("--portal-accent", reason))?;
        let given = self.portal_frame_ancestors.unwrap_or_default();
        let frame_ancestors = given.iter().map(|text| text.trim());
        let frame_ancestors: Vec<_> = frame_ancestors.filter(|text| !text.is_empty()).collect();
        if !frame_ancestors.iter().all(|text| is_origin(text)) {
            let reason = "each is an origin such as https://app.example.com";
            return Err(wrong("--portal-frame-ancestors", reason));
        }
        let is_secure = public_url
            .as_ref()
            .is_some_and(|url| url.starts_with("https:"));
        if !frame_ancestors.is_empty() && !is_secure {
            let reason = "a framed portal needs --public-url with https: browsers send its cookie by that alone";
            return Err(wrong("--portal-frame-ancestors", reason));
        }
        Ok(Pages {
            public_url,
            is_off: !self.dashboard.unwrap_or(true),
            brand: Brand {
                name: self.portal_name.unwrap_or(usual.name),
                logo,
                accent,
            },
            frame_ancestors: frame_ancestors.into_iter().map(str::to_owned).collect(),
        })
    }
}

impl Pages {
    /// The URL that browsers reach a server by that listens on `address`. An address that stands for every one of the machine's is no
    /// URL: it is this machine then.
    pub(crate) fn base(&self, address: SocketAddr, has_tls: bool) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let scheme = if has_tls { "https" } else { "http" };
        if address.ip().is_unspecified() {
            return format!("{scheme}://localhost:{}", address.port());
        }
        format!("{scheme}://{address}")
    }
}

/// An absolute URL to which a path can be added.
fn public_url(given: &str) -> Result<String, ServerError> {
    let is_fine = given.parse::<url::Url>().is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
    });
    if !is_fine {
        let reason = format!("{given:?} is not an http or https URL without a path");
        return Err(wrong("--public-url", reason));
    }
    Ok(given.trim_end_matches('/').to_owned())
}

fn is_origin(text: &str) -> bool {
    let url = text.parse::<url::Url>();
    url.is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(args: PageArgs) -> Result<Pages, String> {
        args.resolve().map_err(|error| error.report())
    }

    #[test]
    fn public_url_is_that_of_links_whatever_is_listened_on() {
        let any = SocketAddr::from(([0, 0, 0, 0], 3001));
        let pages = resolved(PageArgs::default()).unwrap();
        assert_eq!(pages.base(any, false), "http://localhost:3001");
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(pages.base(local, true), "https://127.0.0.1:80");
        let public_url = Some("https://hooks.example.com/".to_owned());
        let pages = resolved(PageArgs {
            public_url,
            ..PageArgs::default()
        });
        let pages = pages.unwrap();
        assert_eq!(pages.base(any, false), "https://hooks.example.com");
    }

    #[test]
    fn wrong_setting_of_the_pages_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let list = |text: &str| Some(vec![text.to_owned()]);
        for (args, named) in [
            (
                PageArgs {
                    public_url: text("https://a.example/path"),
                    ..PageArgs::default()
                },
                "--public-url",
            ),
            (
                PageArgs {
                    portal_accent: text("red"),
                    ..PageArgs::default()
                },
                "--portal-accent",
            ),
            (
                PageArgs {
                    portal_logo: text("four"),
                    ..PageArgs::default()
                },
                "--portal-logo",
            ),
            (
                PageArgs {
                    public_url: text("https://a.example"),
                    portal_frame_ancestors: list("https://b.example; script-src *"),
                    ..PageArgs::default()
                },
                "--portal-frame-ancestors",
            ),
            (
                PageArgs {
                    portal_frame_ancestors: list("https://b.example"),
                    ..PageArgs::default()
                },
                "--portal-frame-ancestors",
            ),
        ] {
            let error = resolved(args).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
