//! Settings of the dashboard and the portal.

use std::net::SocketAddr;

use nahook_dashboard::{Accent, Brand};

use super::{SettingsArgs, wrong};
use crate::ServerError;

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

impl Pages {
    /// Checks those of the settings that are about pages.
    pub(super) fn of(given: &SettingsArgs) -> Result<Self, ServerError> {
        let public_url = given.public_url.as_deref().map(public_url).transpose()?;
        let usual = Brand::default();
        let logo = given.portal_logo.clone().unwrap_or(usual.logo);
        if logo.chars().count() > 3 {
            return Err(wrong("--portal-logo", "it has at most three characters"));
        }
        let accent = given
            .portal_accent
            .as_ref()
            .map(|text| text.parse::<Accent>());
        let accent = accent
            .transpose()
            .map_err(|reason| wrong("--portal-accent", reason))?;
        let frame_ancestors = given.portal_frame_ancestors.iter().flatten();
        let frame_ancestors = frame_ancestors.map(|text| text.trim());
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
        Ok(Self {
            public_url,
            is_off: !given.dashboard.unwrap_or(true),
            brand: Brand {
                name: given.portal_name.clone().unwrap_or(usual.name),
                logo,
                accent,
            },
            frame_ancestors: frame_ancestors.into_iter().map(str::to_owned).collect(),
        })
    }

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

    fn resolved(file: &str) -> Result<Pages, String> {
        let given: SettingsArgs = toml::from_str(file).unwrap();
        Pages::of(&given).map_err(|error| error.report())
    }

    #[test]
    fn public_url_is_that_of_links_whatever_is_listened_on() {
        let any = SocketAddr::from(([0, 0, 0, 0], 3001));
        let pages = resolved("").unwrap();
        assert_eq!(pages.base(any, false), "http://localhost:3001");
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(pages.base(local, true), "https://127.0.0.1:80");
        let pages = resolved("public_url = 'https://hooks.example.com/'").unwrap();
        assert_eq!(pages.base(any, false), "https://hooks.example.com");
    }

    #[test]
    fn wrong_setting_of_the_pages_is_named() {
        let script = "portal_frame_ancestors = ['https://b.example; script-src *']";
        let secure = format!("public_url = 'https://a.example'\n{script}");
        for (file, named) in [
            ("public_url = 'https://a.example/path'", "--public-url"),
            ("portal_accent = 'red'", "--portal-accent"),
            ("portal_logo = 'four'", "--portal-logo"),
            (&secure, "--portal-frame-ancestors"),
            (
                "portal_frame_ancestors = ['https://b.example']",
                "--portal-frame-ancestors",
            ),
        ] {
            let error = resolved(file).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
