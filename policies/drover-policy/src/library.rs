//! The policies that come with drover, as documents.

/// The policies that come with drover: name and YAML text, in order of their names.
pub const LIBRARY: &[(&str, &str)] = &[
    (
        "business-hours",
        include_str!("../../library/business-hours.yaml"),
    ),
    (
        "change-freeze",
        include_str!("../../library/change-freeze.yaml"),
    ),
    (
        "follow-group",
        include_str!("../../library/follow-group.yaml"),
    ),
    (
        "labels-required",
        include_str!("../../library/labels-required.yaml"),
    ),
    ("max-shrink", include_str!("../../library/max-shrink.yaml")),
    ("no-zero", include_str!("../../library/no-zero.yaml")),
    (
        "size-by-schedule",
        include_str!("../../library/size-by-schedule.yaml"),
    ),
    (
        "tags-required",
        include_str!("../../library/tags-required.yaml"),
    ),
    (
        "update-after",
        include_str!("../../library/update-after.yaml"),
    ),
    (
        "update-when-healthy",
        include_str!("../../library/update-when-healthy.yaml"),
    ),
];
