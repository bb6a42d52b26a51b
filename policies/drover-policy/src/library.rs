//! The policies that come with drover, as documents.

/// The policies that come with drover: name and YAML text, in order of their names.
pub const LIBRARY: &[(&str, &str)] = &[
    (
        "approve-above",
        include_str!("../../library/approve-above.yaml"),
    ),
    (
        "as-healthy-as-before",
        include_str!("../../library/as-healthy-as-before.yaml"),
    ),
    ("avoid-zone", include_str!("../../library/avoid-zone.yaml")),
    (
        "business-hours",
        include_str!("../../library/business-hours.yaml"),
    ),
    (
        "change-freeze",
        include_str!("../../library/change-freeze.yaml"),
    ),
    (
        "cost-ceiling",
        include_str!("../../library/cost-ceiling.yaml"),
    ),
    ("drain-zone", include_str!("../../library/drain-zone.yaml")),
    (
        "error-budget",
        include_str!("../../library/error-budget.yaml"),
    ),
    (
        "error-rate-canary",
        include_str!("../../library/error-rate-canary.yaml"),
    ),
    (
        "follow-group",
        include_str!("../../library/follow-group.yaml"),
    ),
    (
        "heal-when-few",
        include_str!("../../library/heal-when-few.yaml"),
    ),
    (
        "heal-zone-outage",
        include_str!("../../library/heal-zone-outage.yaml"),
    ),
    (
        "health-required",
        include_str!("../../library/health-required.yaml"),
    ),
    ("idle-first", include_str!("../../library/idle-first.yaml")),
    (
        "ignore-drift",
        include_str!("../../library/ignore-drift.yaml"),
    ),
    ("keep-busy", include_str!("../../library/keep-busy.yaml")),
    (
        "labels-required",
        include_str!("../../library/labels-required.yaml"),
    ),
    (
        "max-disruption",
        include_str!("../../library/max-disruption.yaml"),
    ),
    ("max-grow", include_str!("../../library/max-grow.yaml")),
    ("max-shrink", include_str!("../../library/max-shrink.yaml")),
    (
        "most-checks",
        include_str!("../../library/most-checks.yaml"),
    ),
    ("no-zero", include_str!("../../library/no-zero.yaml")),
    ("odd-size", include_str!("../../library/odd-size.yaml")),
    (
        "prefer-zone",
        include_str!("../../library/prefer-zone.yaml"),
    ),
    (
        "property-pattern",
        include_str!("../../library/property-pattern.yaml"),
    ),
    (
        "protect-required",
        include_str!("../../library/protect-required.yaml"),
    ),
    (
        "protect-self",
        include_str!("../../library/protect-self.yaml"),
    ),
    (
        "queue-depth",
        include_str!("../../library/queue-depth.yaml"),
    ),
    (
        "quiet-hours",
        include_str!("../../library/quiet-hours.yaml"),
    ),
    (
        "signed-commit",
        include_str!("../../library/signed-commit.yaml"),
    ),
    (
        "size-by-schedule",
        include_str!("../../library/size-by-schedule.yaml"),
    ),
    ("soak", include_str!("../../library/soak.yaml")),
    (
        "spread-zones",
        include_str!("../../library/spread-zones.yaml"),
    ),
    (
        "tags-required",
        include_str!("../../library/tags-required.yaml"),
    ),
    (
        "unsaved-work",
        include_str!("../../library/unsaved-work.yaml"),
    ),
    (
        "update-after",
        include_str!("../../library/update-after.yaml"),
    ),
    (
        "update-when-healthy",
        include_str!("../../library/update-when-healthy.yaml"),
    ),
    (
        "weekly-expiry",
        include_str!("../../library/weekly-expiry.yaml"),
    ),
];
