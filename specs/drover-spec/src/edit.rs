//! Edits of a group's file as a person would make them: one value changes, every comment and every
//! other byte stays.
//!
//! An edit is a splice of the text at places that the tree knows. The result is parsed again and must
//! differ from the original in the intended field only; else there is no result, so that whatever
//! YAML is thrown at it, nothing else is ever changed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use drover_model::{Activity, Group, GroupName, GroupSpec, Kind, Manage, Suspend, Value};

use crate::diagnostic::Diagnostic;
use crate::document::{Document, ParsedFile, parse_file};
use crate::formats::format_time;
use crate::record::flow_scalar;
use crate::tree::{Content, Entry, Flow, Node, TreeLimits, read};

/// Why a file was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file has no document of that group.
    #[error("the file has no group {group}")]
    NotFound {
        /// The group.
        group: GroupName,
    },
    /// The file has the group more than once.
    #[error("the file has the group {group} more than once")]
    Repeated {
        /// The group.
        group: GroupName,
    },
    /// The document has mistakes, which come first.
    #[error("the document of group {group} has mistakes: {}", said(diagnostics))]
    Invalid {
        /// The group.
        group: GroupName,
        /// The mistakes.
        diagnostics: Vec<Diagnostic>,
    },
    /// The edited document would have mistakes, such as a size outside its bounds.
    #[error(
        "the document of group {group} would have mistakes: {}",
        said(diagnostics)
    )]
    Refused {
        /// The group.
        group: GroupName,
        /// The mistakes.
        diagnostics: Vec<Diagnostic>,
    },
    /// None of the activities is suspended under its own name.
    #[error("group {group} has no such suspension")]
    NotSuspended {
        /// The group.
        group: GroupName,
    },
    /// The group has members, which have names.
    #[error(
        "group {group} has `members`, one for each instance: add one to the document, or remove one"
    )]
    Members {
        /// The group.
        group: GroupName,
    },
    /// The document is written in a way that this edit cannot keep, for instance with aliases.
    #[error("the document of group {group} is written in a way that must be edited by hand")]
    ByHand {
        /// The group.
        group: GroupName,
    },
}

/// Most mistakes that an error names.
const MISTAKES_MAX: usize = 3;

/// Says what is wrong with a document.
fn said(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|found| found.is_error());
    let messages: Vec<String> = errors.map(|found| found.message.clone()).collect();
    let more = messages.len().saturating_sub(MISTAKES_MAX);
    let mut said: Vec<String> = messages.into_iter().take(MISTAKES_MAX).collect();
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said.join("; ")
}

/// Sets `spec.size` of a group.
pub fn set_size(file_text: &str, group: &GroupName, size: u32) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    if target.spec.get("members").is_some() {
        return Err(EditError::Members {
            group: group.clone(),
        });
    }
    let node = target.spec.get("size").ok_or_else(|| target.by_hand())?;
    let splice = Splice::replace(node.place.start..node.place.end, size.to_string());
    target.spliced(vec![splice], |spec| spec.size = size)
}

/// Sets `spec.manage` of a group.
pub fn set_manage(file_text: &str, group: &GroupName, manage: Manage) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    let intended = |spec: &mut GroupSpec| spec.manage = manage;
    let word = match manage {
        Manage::Full => "full",
        Manage::Observe => "observe",
    };
    if let Some(node) = target.spec.get("manage") {
        let splice = Splice::replace(node.place.start..node.place.end, word.to_owned());
        return target.spliced(vec![splice], intended);
    }
    let first = target
        .append_field("manage", word)
        .ok_or_else(|| target.by_hand())
        .and_then(|splice| target.spliced(vec![splice], intended));
    match (first, target.prepend_field("manage", word)) {
        // As with `suspend`: the end of some block texts cannot be told from what follows.
        (Err(EditError::ByHand { .. }), Some(splice)) => target.spliced(vec![splice], intended),
        (result, _) => result,
    }
}

/// Sets `spec.template.properties` of a group; `written` is the value in one line, as YAML or JSON has it.
/// What the properties had of comments goes.
pub fn set_properties(
    file_text: &str,
    group: &GroupName,
    properties: &Value,
    written: &str,
) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    let template = target.spec.get("template");
    let node = template.and_then(|template| template.get("properties"));
    let node = node.ok_or_else(|| target.by_hand())?;
    let splice = Splice::replace(node.place.start..node.place.end, written.to_owned());
    target.spliced(vec![splice], |spec| {
        spec.template.properties = properties.clone();
    })
}

/// Takes the document of a group out of its file. None: nothing else is in the file.
pub fn remove_group(file_text: &str, group: &GroupName) -> Result<Option<String>, EditError> {
    let target = Target::find(file_text, group)?;
    let raw = read(file_text, 0, TreeLimits::DOCUMENTS).documents;
    let index = target.index;
    if raw.len() == 1 {
        return Ok(None);
    }
    let gone = match index.checked_sub(1) {
        // The line with the dashes before it goes too.
        Some(before) => raw[before].end..raw[index].end,
        None => 0..raw[1].start,
    };
    let parts = (file_text.get(..gone.start), file_text.get(gone.end..));
    let (Some(before), Some(after)) = parts else {
        return Err(target.by_hand());
    };
    let text = format!("{before}{after}");
    let texts = |file: &ParsedFile| -> Vec<Arc<str>> {
        let documents = file.documents.iter();
        documents
            .map(|document| Arc::clone(&document.text))
            .collect()
    };
    let mut expected = texts(&target.file);
    expected.remove(index);
    // Line breaks at the border are nobody's.
    let same = |left: &[Arc<str>], right: &[Arc<str>]| {
        let mut pairs = left.iter().zip(right);
        left.len() == right.len() && pairs.all(|(left, right)| left.trim() == right.trim())
    };
    if same(&texts(&parse_file(PATH, text.as_bytes())), &expected) {
        Ok(Some(text))
    } else {
        Err(target.by_hand())
    }
}

/// Gives a group the `spec.template` that it has in another file, as it is written there.
pub fn set_template(
    file_text: &str,
    group: &GroupName,
    other_text: &str,
) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    let other = Target::find(other_text, group)?;
    let splice = target.template_of(&other);
    let splice = splice.ok_or_else(|| target.by_hand())?;
    let template = &other.before.spec.template;
    target.spliced(vec![splice], |spec| spec.template.clone_from(template))
}

/// Adds an entry to `spec.suspend` of a group.
pub fn add_suspend(
    file_text: &str,
    group: &GroupName,
    suspend: &Suspend,
) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    let intended = |spec: &mut GroupSpec| spec.suspend.push(suspend.clone());
    let item = written(suspend);
    let first = target
        .append_suspend(&item)
        .ok_or_else(|| target.by_hand())
        .and_then(|splice| target.spliced(vec![splice], intended));
    match (first, target.prepend_suspend(&item)) {
        // The end of some block texts cannot be told from what follows; the start is always sure.
        (Err(EditError::ByHand { .. }), Some(splice)) => target.spliced(vec![splice], intended),
        (result, _) => result,
    }
}

/// Takes activities out of `spec.suspend` of a group. An entry that suspends nothing more goes, and
/// so does the field when nothing is left in it. [`Activity::All`] takes out every entry; an entry
/// that says `all` is taken out by nothing else.
pub fn remove_suspend(
    file_text: &str,
    group: &GroupName,
    activities: &BTreeSet<Activity>,
) -> Result<String, EditError> {
    let target = Target::find(file_text, group)?;
    let left = |suspend: &Suspend| -> BTreeSet<Activity> {
        if activities.contains(&Activity::All) {
            BTreeSet::new()
        } else {
            suspend.what.difference(activities).copied().collect()
        }
    };
    let before = &target.before.spec.suspend;
    if before.iter().all(|suspend| left(suspend) == suspend.what) {
        return Err(EditError::NotSuspended {
            group: group.clone(),
        });
    }
    let gone: Vec<bool> = before.iter().map(|entry| left(entry).is_empty()).collect();
    let by_hand = || target.by_hand();
    let splices = if gone.iter().all(|gone| *gone) {
        vec![target.without_key("suspend").ok_or_else(by_hand)?]
    } else {
        let list = target.spec.get("suspend").ok_or_else(by_hand)?;
        let mut splices = target.without_items(list, &gone).ok_or_else(by_hand)?;
        let Content::List(items, _) = &list.content else {
            return Err(by_hand());
        };
        for ((item, suspend), gone) in items.iter().zip(before).zip(&gone) {
            let left = left(suspend);
            if *gone || left == suspend.what {
                continue;
            }
            let what = item.get("what").ok_or_else(by_hand)?;
            splices.extend(target.without_words(what, &left).ok_or_else(by_hand)?);
        }
        splices
    };
    target.spliced(splices, |spec| {
        for suspend in &mut spec.suspend {
            suspend.what = left(suspend);
        }
        spec.suspend.retain(|suspend| !suspend.what.is_empty());
    })
}

/// Writes a suspension in one line.
fn written(suspend: &Suspend) -> String {
    let words: Vec<&str> = suspend.what.iter().map(|what| what.as_str()).collect();
    let mut fields = vec![match words.as_slice() {
        [word] => format!("what: {word}"),
        words => format!("what: [{}]", words.join(", ")),
    }];
    if let Some(until) = suspend.until {
        fields.push(format!("until: {}", format_time(until)));
    }
    if let Some(because) = &suspend.because {
        fields.push(format!("because: {}", flow_scalar(because)));
    }
    format!("{{{}}}", fields.join(", "))
}

/// A replacement of a range of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Splice {
    range: Range<usize>,
    text: String,
}

impl Splice {
    fn replace(range: Range<usize>, text: String) -> Self {
        Self { range, text }
    }

    fn insert(at: usize, text: String) -> Self {
        Self::replace(at..at, text)
    }

    fn remove(range: Range<usize>) -> Self {
        Self::replace(range, String::new())
    }
}

/// A group's document in its file.
struct Target<'a> {
    text: &'a str,
    file: ParsedFile,
    index: usize,
    before: Group,
    spec: Node,
}

/// The name under which mistakes of an edited text are reported; the caller knows the real one.
const PATH: &str = "";

impl<'a> Target<'a> {
    fn find(text: &'a str, group: &GroupName) -> Result<Self, EditError> {
        let file = parse_file(PATH, text.as_bytes());
        let wanted = Some((Kind::Group, group.as_str().to_owned()));
        let mut found =
            (0..file.documents.len()).filter(|index| file.documents[*index].identity == wanted);
        let not_found = || EditError::NotFound {
            group: group.clone(),
        };
        let index = found.next().ok_or_else(not_found)?;
        if found.next().is_some() {
            return Err(EditError::Repeated {
                group: group.clone(),
            });
        }
        let Some(Document::Group(before)) = &file.documents[index].outcome else {
            return Err(EditError::Invalid {
                group: group.clone(),
                diagnostics: file.documents[index].diagnostics.clone(),
            });
        };
        let before = (**before).clone();
        let mut raw = read(text, 0, TreeLimits::DOCUMENTS);
        let root = raw.documents.swap_remove(index).root;
        let spec = root.as_ref().and_then(|root| root.get("spec")).cloned();
        Ok(Self {
            text,
            index,
            before,
            spec: spec.ok_or_else(not_found)?,
            file,
        })
    }

    fn by_hand(&self) -> EditError {
        EditError::ByHand {
            group: self.before.name.clone(),
        }
    }

    /// Applies the splices and checks that they did what they should and nothing else.
    fn spliced(
        &self,
        mut splices: Vec<Splice>,
        intended: impl Fn(&mut GroupSpec),
    ) -> Result<String, EditError> {
        splices.sort_by_key(|splice| splice.range.start);
        let mut out = String::with_capacity(self.text.len() + 128);
        let mut at = 0;
        for splice in &splices {
            let kept = self.text.get(at..splice.range.start);
            out.push_str(kept.ok_or_else(|| self.by_hand())?);
            out.push_str(&splice.text);
            at = splice.range.end;
        }
        out.push_str(self.text.get(at..).ok_or_else(|| self.by_hand())?);
        self.verify(&out, intended)?;
        Ok(out)
    }

    fn verify(&self, text: &str, intended: impl Fn(&mut GroupSpec)) -> Result<(), EditError> {
        let after = parse_file(PATH, text.as_bytes());
        let others = |file: &ParsedFile| -> Vec<Arc<str>> {
            let documents = file.documents.iter().enumerate();
            documents
                .filter(|(index, _)| *index != self.index)
                .map(|(_, document)| Arc::clone(&document.text))
                .collect()
        };
        if others(&after) != others(&self.file) {
            return Err(self.by_hand());
        }
        let document = after.documents.get(self.index);
        let document = document.ok_or_else(|| self.by_hand())?;
        let Some(Document::Group(group)) = &document.outcome else {
            let syntax = |found: &Diagnostic| found.code == "yaml-syntax";
            if document.diagnostics.iter().any(syntax) {
                return Err(self.by_hand());
            }
            return Err(EditError::Refused {
                group: self.before.name.clone(),
                diagnostics: document.diagnostics.clone(),
            });
        };
        let mut spec = self.before.spec.clone();
        intended(&mut spec);
        let same = group.spec == spec
            && group.name == self.before.name
            && group.labels == self.before.labels
            && group.annotations == self.before.annotations;
        if same { Ok(()) } else { Err(self.by_hand()) }
    }

    /// Returns the line break that the file uses.
    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    /// Returns where the line of `at` ends, its line break counted.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..]
            .find('\n')
            .map_or(self.text.len(), |end| at + end + 1)
    }

    /// Returns the blanks before `at`, if there is nothing else before it on its line.
    fn blanks_before(&self, at: usize) -> Option<&'a str> {
        let blanks = &self.text[self.line_start(at)..at];
        blanks.bytes().all(|b| b == b' ').then_some(blanks)
    }

    /// Returns where the dash before a block item stands, if it begins its line.
    fn dash_before(&self, item: &Node) -> Option<usize> {
        let line_start = self.line_start(item.place.start);
        let before = self.text[line_start..item.place.start].trim_end_matches(' ');
        let dash = line_start + before.strip_suffix('-')?.len();
        self.blanks_before(dash).map(|_| dash)
    }

    /// Inserts whole lines after the line of `at`.
    fn lines_after(&self, at: usize, lines: &str) -> Splice {
        let end = self.line_end(at);
        let line_break = self.line_break();
        // The file's last line may have no line break; then the new last one has none either.
        if self.text[..end].ends_with('\n') {
            Splice::insert(end, format!("{lines}{line_break}"))
        } else {
            Splice::insert(end, format!("{line_break}{lines}"))
        }
    }

    fn append_suspend(&self, item: &str) -> Option<Splice> {
        let entries = self.spec.entries()?;
        match entries.iter().find(|entry| entry.key == "suspend") {
            Some(entry) => self.append_item(&entry.value, item),
            None => self.append_key(entries, item),
        }
    }

    fn append_item(&self, list: &Node, item: &str) -> Option<Splice> {
        match &list.content {
            Content::List(items, Flow::Flow) => Some(match items.last() {
                Some(last) => Splice::insert(last.place.end, format!(", {item}")),
                None => Splice::insert(list.place.start + 1, item.to_owned()),
            }),
            Content::List(items, Flow::Block) => {
                let dash = self.dash_before(items.first()?)?;
                let blanks = self.blanks_before(dash)?;
                let line = format!("{blanks}- {item}");
                Some(self.lines_after(items.last()?.place.end, &line))
            }
            Content::Scalar(_) | Content::Map(..) => None,
        }
    }

    /// Puts a field behind the others.
    fn append_field(&self, key: &str, value: &str) -> Option<Splice> {
        let entries = self.spec.entries()?;
        let end = entries.last()?.value.place.end;
        if self.is_flow() {
            return Some(Splice::insert(end, format!(", {key}: {value}")));
        }
        let blanks = self.blanks_before(entries.first()?.key_place.start)?;
        Some(self.lines_after(end, &format!("{blanks}{key}: {value}")))
    }

    /// Puts a field before the others.
    fn prepend_field(&self, key: &str, value: &str) -> Option<Splice> {
        let first = self.spec.entries()?.first()?;
        if self.is_flow() {
            return None;
        }
        let blanks = self.blanks_before(first.key_place.start)?;
        let line_break = self.line_break();
        let at = self.line_start(first.key_place.start);
        Some(Splice::insert(
            at,
            format!("{blanks}{key}: {value}{line_break}"),
        ))
    }

    fn append_key(&self, entries: &[Entry], item: &str) -> Option<Splice> {
        let last = entries.last()?;
        if self.is_flow() {
            let end = last.value.place.end;
            return Some(Splice::insert(end, format!(", suspend: [{item}]")));
        }
        let lines = self.suspend_lines(item)?;
        Some(self.lines_after(last.value.place.end, &lines))
    }

    /// Replaces the template by that of another document: its lines, or its value where either is written in one
    /// line with others.
    fn template_of(&self, other: &Self) -> Option<Splice> {
        let ours = self.entry("template")?;
        let theirs = other.entry("template")?;
        let blanks = self.blanks_before(ours.key_place.start);
        let other_blanks = other.blanks_before(theirs.key_place.start);
        let (Some(blanks), Some(other_blanks), false) = (blanks, other_blanks, self.is_flow())
        else {
            let value = theirs.value.place;
            let text = other.text.get(value.start..value.end)?;
            let one_line = !text.contains('\n');
            let range = ours.value.place.start..ours.value.place.end;
            return one_line.then(|| Splice::replace(range, text.to_owned()));
        };
        let line_break = self.line_break();
        let lines = other
            .text
            .get(theirs.key_place.start..theirs.value.place.end)?;
        let mut text = String::new();
        for (number, line) in lines.lines().enumerate() {
            if number > 0 {
                text.push_str(line_break);
                // An empty line has no blanks to take away.
                let rest = line.strip_prefix(other_blanks);
                if rest.is_none() && !line.trim().is_empty() {
                    return None;
                }
                let rest = rest.unwrap_or_default();
                if !rest.is_empty() {
                    text.push_str(blanks);
                    text.push_str(rest);
                }
            } else {
                text.push_str(line);
            }
        }
        let range = ours.key_place.start..ours.value.place.end;
        Some(Splice::replace(range, text))
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let mut entries = self.spec.entries()?.iter();
        entries.find(|entry| entry.key == key)
    }

    /// Puts `suspend` before the other fields.
    fn prepend_suspend(&self, item: &str) -> Option<Splice> {
        let first = self.spec.entries()?.first()?;
        if self.is_flow() || self.spec.get("suspend").is_some() {
            return None;
        }
        let lines = self.suspend_lines(item)?;
        let line_break = self.line_break();
        let at = self.line_start(first.key_place.start);
        Some(Splice::insert(at, format!("{lines}{line_break}")))
    }

    fn suspend_lines(&self, item: &str) -> Option<String> {
        let first = self.spec.entries()?.first()?;
        let blanks = self.blanks_before(first.key_place.start)?;
        let line_break = self.line_break();
        Some(format!("{blanks}suspend:{line_break}{blanks}  - {item}"))
    }

    fn is_flow(&self) -> bool {
        matches!(self.spec.content, Content::Map(_, Flow::Flow))
    }

    /// Removes a key of the spec with its value.
    fn without_key(&self, key: &str) -> Option<Splice> {
        let entries = self.spec.entries()?;
        let at = entries.iter().position(|entry| entry.key == key)?;
        let range = |entry: &Entry| entry.key_place.start..entry.value.place.end;
        if self.is_flow() {
            let ranges: Vec<Range<usize>> = entries.iter().map(range).collect();
            let gone: Vec<bool> = (0..entries.len()).map(|index| index == at).collect();
            return without_parts(&ranges, &gone)?.pop();
        }
        let Range { start, end } = range(&entries[at]);
        self.blanks_before(start)?;
        Some(self.without_lines(start, end))
    }

    /// Removes the lines from that of `start` to that of `end`.
    fn without_lines(&self, start: usize, end: usize) -> Splice {
        let end = self.line_end(end);
        let mut start = self.line_start(start);
        // Without a line break at the end of the file, the one before the lines goes.
        if !self.text[..end].ends_with('\n') {
            start = self.text[..start]
                .strip_suffix('\n')
                .map_or(start, |before| before.trim_end_matches('\r').len());
        }
        Splice::remove(start..end)
    }

    /// Removes some items of a list, not all.
    fn without_items(&self, list: &Node, gone: &[bool]) -> Option<Vec<Splice>> {
        let Content::List(items, flow) = &list.content else {
            return None;
        };
        if *flow == Flow::Flow {
            let ranges = items.iter().map(|item| item.place.start..item.place.end);
            return without_parts(&ranges.collect::<Vec<_>>(), gone);
        }
        let removed = items.iter().zip(gone).filter(|(_, gone)| **gone);
        removed
            .map(|(item, _)| {
                let dash = self.dash_before(item)?;
                Some(self.without_lines(dash, item.place.end))
            })
            .collect()
    }

    /// Removes the words of a list that are not in `left`.
    fn without_words(&self, what: &Node, left: &BTreeSet<Activity>) -> Option<Vec<Splice>> {
        let Content::List(items, _) = &what.content else {
            return None;
        };
        let kept = |item: &Node| left.iter().any(|word| item.text() == Some(word.as_str()));
        let gone: Vec<bool> = items.iter().map(|item| !kept(item)).collect();
        self.without_items(what, &gone)
    }
}

/// Removes some parts of a flow collection, not all, each with one of the commas beside it.
fn without_parts(ranges: &[Range<usize>], gone: &[bool]) -> Option<Vec<Splice>> {
    let first_kept = gone.iter().position(|gone| !gone)?;
    let removed = (0..ranges.len()).filter(|index| gone[*index]);
    Some(
        removed
            .map(|index| {
                Splice::remove(if index < first_kept {
                    ranges[index].start..ranges[index + 1].start
                } else {
                    ranges[index - 1].end..ranges[index].end
                })
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests;
