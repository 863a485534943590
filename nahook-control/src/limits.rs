//! The bounds of every field, whoever writes it: the APIs, a manifest, an import.

/// Largest number of labels of a portal session (contract, section 2).
pub const PORTAL_METADATA_KEYS_MAX: usize = 10;
/// Largest configuration of an endpoint, in bytes of JSON.
pub const CONFIG_LEN_MAX: usize = 8192;
/// Largest number of fields in all objects of a configuration together.
pub const CONFIG_KEYS_MAX: usize = 64;
/// Largest depth of a configuration: 1 is a flat object.
pub const CONFIG_DEPTH_MAX: usize = 8;
/// Longest description, in characters.
pub const DESCRIPTION_LEN_MAX: usize = 1024;
/// Longest name and external id, in characters.
pub const NAME_LEN_MAX: usize = 255;
/// Longest user name for basic authentication, in characters.
pub const USERNAME_LEN_MAX: usize = 255;
/// Longest password for basic authentication, in characters.
pub const PASSWORD_LEN_MAX: usize = 1024;
/// Longest key, token and signing secret that is given, in bytes.
pub const SECRET_LEN_MAX: usize = 512;
/// Longest error of an attempt that is brought along, in characters.
pub const ERROR_LEN_MAX: usize = 1024;
/// Largest number of environments of a workspace (contract, section 2).
pub const ENVIRONMENTS_MAX: usize = 10;
