//! The `cloudInit` flavor: parts of user data, which cloud-init takes on the instance.

/// The `cloudInit` flavor: parts that become one multi-part document, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudInit {
    /// The parts, at least one.
    pub parts: Vec<UserDataPart>,
}

/// One part of the user data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDataPart {
    /// What cloud-init takes it for.
    pub content_type: PartType,
    /// The text; it begins as [`PartType::beginning`] says.
    pub content: String,
    /// How this part's configuration is merged into that of the parts before, such as
    /// `list(append)+dict(recurse_array)+str()`. None: cloud-init's own way. Of cloud-config only.
    pub merge_how: Option<String>,
}

/// What cloud-init takes a part for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartType {
    /// Configuration.
    CloudConfig,
    /// A list of further parts.
    CloudConfigArchive,
    /// A JSON patch of the configuration.
    CloudConfigJsonp,
    /// A program that runs early, at every boot.
    CloudBoothook,
    /// A script that runs once for each instance, late.
    ShellScript,
    /// A script that runs at every boot.
    ShellScriptPerBoot,
    /// A script that runs once for each instance.
    ShellScriptPerInstance,
    /// A script that runs once.
    ShellScriptPerOnce,
    /// Addresses to fetch further parts from.
    IncludeUrl,
    /// The same, fetched once.
    IncludeOnceUrl,
    /// Python that takes parts of types of its own.
    PartHandler,
    /// A template of configuration or of a script.
    Jinja2,
}

impl PartType {
    /// Every type.
    pub const ALL: [Self; 12] = [
        Self::CloudConfig,
        Self::CloudConfigArchive,
        Self::CloudConfigJsonp,
        Self::CloudBoothook,
        Self::ShellScript,
        Self::ShellScriptPerBoot,
        Self::ShellScriptPerInstance,
        Self::ShellScriptPerOnce,
        Self::IncludeUrl,
        Self::IncludeOnceUrl,
        Self::PartHandler,
        Self::Jinja2,
    ];

    /// Returns the content type, as documents and user data have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudConfig => "text/cloud-config",
            Self::CloudConfigArchive => "text/cloud-config-archive",
            Self::CloudConfigJsonp => "text/cloud-config-jsonp",
            Self::CloudBoothook => "text/cloud-boothook",
            Self::ShellScript => "text/x-shellscript",
            Self::ShellScriptPerBoot => "text/x-shellscript-per-boot",
            Self::ShellScriptPerInstance => "text/x-shellscript-per-instance",
            Self::ShellScriptPerOnce => "text/x-shellscript-per-once",
            Self::IncludeUrl => "text/x-include-url",
            Self::IncludeOnceUrl => "text/x-include-once-url",
            Self::PartHandler => "text/part-handler",
            Self::Jinja2 => "text/jinja2",
        }
    }

    /// Returns how the content of a part of this type begins.
    pub fn beginning(self) -> &'static str {
        match self {
            Self::CloudConfig => "#cloud-config",
            Self::CloudConfigArchive => "#cloud-config-archive",
            Self::CloudConfigJsonp => "#cloud-config-jsonp",
            Self::CloudBoothook => "#cloud-boothook",
            Self::ShellScript
            | Self::ShellScriptPerBoot
            | Self::ShellScriptPerInstance
            | Self::ShellScriptPerOnce => "#!",
            Self::IncludeUrl => "#include",
            Self::IncludeOnceUrl => "#include-once",
            Self::PartHandler => "#part-handler",
            Self::Jinja2 => "## template: jinja",
        }
    }

    /// Returns whether `content` begins as this type must. A word that only begins alike is another
    /// type: `#cloud-config-archive` is no `#cloud-config`.
    pub fn begins(self, content: &str) -> bool {
        let Some(rest) = content.strip_prefix(self.beginning()) else {
            return false;
        };
        match self {
            Self::ShellScript
            | Self::ShellScriptPerBoot
            | Self::ShellScriptPerInstance
            | Self::ShellScriptPerOnce => true,
            Self::CloudConfig
            | Self::CloudConfigArchive
            | Self::CloudConfigJsonp
            | Self::CloudBoothook
            | Self::IncludeUrl
            | Self::IncludeOnceUrl
            | Self::PartHandler
            | Self::Jinja2 => rest.chars().next().is_none_or(char::is_whitespace),
        }
    }
}
