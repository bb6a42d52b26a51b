//! Did-you-mean.

/// Returns the known name that is most like `name`, if one is like it at all.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Another spelling of the same words comes first: `max_surge` for `maxSurge`.
    let plain = |text: &str| text.replace(['_', '-', ' '], "").to_lowercase();
    let wanted = plain(name);
    // Longer names cost more time than they are worth.
    if name.len() > 100 {
        return None;
    }
    let scored = known.map(|known| (strsim::damerau_levenshtein(&wanted, &plain(known)), known));
    let (distance, best) = scored.min()?;
    let near = 2.min(name.len() / 2).max(name.len() / 3);
    (distance <= near).then_some(best)
}
