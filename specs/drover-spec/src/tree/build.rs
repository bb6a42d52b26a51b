//! Builds the tree from the parser's events, within limits and without recursion.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle};

use super::hints;
use super::place::{byte_range, forbidden_character, lines_of, place_of};
use super::scalar::resolve;
use super::{Content, Entry, Flow, Node, Place, Resolved, Scalar, Style};
use crate::diagnostic::UNREADABLE_NUMBER;
use crate::limits;

/// Bounds of one reading. Documents that people write and recorded states differ in size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeLimits {
    pub(crate) bytes: usize,
    pub(crate) documents: usize,
    pub(crate) nodes: usize,
    pub(crate) text_bytes: usize,
    pub(crate) depth: usize,
    /// Most characters of a key that is written without `?`.
    pub(crate) key_length: usize,
}

impl TreeLimits {
    /// Bounds of a file in the repository.
    pub(crate) const DOCUMENTS: Self = Self {
        bytes: limits::FILE_BYTES_MAX,
        documents: limits::DOCUMENTS_MAX,
        nodes: limits::NODES_MAX,
        text_bytes: limits::TEXT_BYTES_MAX,
        depth: limits::DEPTH_MAX,
        key_length: limits::KEY_LENGTH_MAX,
    };

    /// Bounds of a recorded state, which the agent wrote itself.
    pub(crate) const RECORD: Self = Self {
        bytes: limits::RECORD_BYTES_MAX,
        documents: 1,
        nodes: limits::RECORD_NODES_MAX,
        text_bytes: limits::RECORD_BYTES_MAX,
        // What was accepted from a document stands a little deeper here.
        depth: limits::DEPTH_MAX + 8,
        // A key that a document wrote with `?` is written without it, and perhaps in escapes.
        key_length: 16 * limits::FILE_BYTES_MAX,
    };
}

/// A mistake found while building the tree.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: Option<Cow<'static, str>>,
    pub(crate) related: Option<(Place, &'static str)>,
}

impl Fault {
    pub(super) fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            place,
            message: message.into(),
            hint: None,
            related: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// One document as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawDocument {
    /// The byte range of its text, without the `---` line before it.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The line at which the text starts, from 1.
    pub(crate) line: u32,
    /// The tree, as far as it could be read. None: nothing could.
    pub(crate) root: Option<Node>,
    pub(crate) faults: Vec<Fault>,
    /// Whether the document was read to its end: no syntax error, no limit.
    pub(crate) finished: bool,
    /// Whether a key is repeated, so that the tree is not all that the document says.
    pub(crate) repeated: bool,
}

/// A file's documents.
#[derive(Debug, Default)]
pub(crate) struct RawFile {
    pub(crate) documents: Vec<RawDocument>,
    /// Why the file could not be read to its end.
    pub(crate) fault: Option<Fault>,
}

/// Reads every document of `source`. `line_offset` is added to every line.
pub(crate) fn read(source: &str, line_offset: u32, limits: TreeLimits) -> RawFile {
    if source.len() > limits.bytes {
        let message = format!(
            "the file has {} bytes, the limit is {}",
            source.len(),
            limits.bytes
        );
        return refused(Fault::new(
            "too-large",
            Place::at(line_offset + 1, 1),
            message,
        ));
    }
    if let Some(fault) = forbidden_character(source, line_offset) {
        return refused(fault);
    }
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
        simple_key_max_lookahead: limits.key_length,
    };
    options.set_emit_comments(false);
    let builder = Builder {
        source,
        line_offset,
        limits,
        nodes: 0,
        text_bytes: 0,
        aliases: 0,
        file: RawFile::default(),
        current: None,
    };
    builder.run(Parser::new_from_str_with_options(source, options))
}

fn refused(fault: Fault) -> RawFile {
    RawFile {
        documents: Vec::new(),
        fault: Some(fault),
    }
}

/// A collection that is not closed yet.
#[derive(Debug)]
struct Frame {
    place: Place,
    flow: Flow,
    anchor: usize,
    height: usize,
    count: usize,
    bytes: usize,
    children: Children,
}

#[derive(Debug)]
enum Children {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Place)>),
}

/// A finished value with its measure.
#[derive(Debug, Clone)]
struct Measured {
    node: Node,
    height: usize,
    count: usize,
    bytes: usize,
}

/// The document that is being read.
#[derive(Debug)]
struct Current {
    document: RawDocument,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Measured>,
}

struct Builder<'a> {
    source: &'a str,
    line_offset: u32,
    limits: TreeLimits,
    nodes: usize,
    text_bytes: usize,
    aliases: usize,
    file: RawFile,
    current: Option<Current>,
}

/// What to do after an event.
enum Next {
    Go,
    /// The document is given up, the next one may be good.
    Skip,
    /// The file is given up.
    Stop,
}

impl<'a> Builder<'a> {
    fn run(mut self, mut parser: Parser<'a, StrInput<'a>>) -> RawFile {
        loop {
            let next = match parser.next_event() {
                None | Some(Ok((Event::StreamEnd, _))) => break,
                Some(Ok((event, span))) => self.event(event, span),
                Some(Err(error)) => self.syntax_error(&error),
            };
            let go_on = match next {
                Next::Go => true,
                Next::Stop => false,
                Next::Skip => {
                    self.close(self.source.len());
                    parser.proceed_next_document().unwrap_or(false)
                }
            };
            if !go_on {
                break;
            }
        }
        self.close(self.source.len());
        self.file
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Next {
        if let (Some(_), Some(current)) = (event.tag(), self.current.as_mut()) {
            let tag = span.tag_span().unwrap_or(span);
            let place = place_of(&tag, self.source, self.line_offset);
            let fault = Fault::new("yaml-tag", place, "tags are not supported");
            current.document.faults.push(fault.hint("remove the tag"));
        }
        match event {
            Event::DocumentStart(explicit, _) => self.open(explicit, &span),
            Event::Scalar(text, style, anchor, _) => self.scalar(&text, style, anchor, &span),
            Event::SequenceStart(style, anchor, _) => {
                self.push(style, anchor, &span, Children::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, _) => {
                self.push(style, anchor, &span, Children::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.pop(&span),
            Event::Alias(id) => self.alias(id, &span),
            // The other events carry no values, and some are not asked for.
            _ => Next::Go,
        }
    }

    fn open(&mut self, explicit: bool, span: &Span) -> Next {
        let at = byte_range(span).0;
        let line_start = self.source[..at].rfind('\n').map_or(0, |at| at + 1);
        self.close(line_start);
        if self.file.documents.len() >= self.limits.documents {
            let place = place_of(span, self.source, self.line_offset);
            let message = format!("the file has more than {} documents", self.limits.documents);
            self.file.fault = Some(Fault::new("too-many-documents", place, message));
            return Next::Stop;
        }
        let (mut start, mut line) = if explicit || !self.file.documents.is_empty() {
            (line_start, span.start.line() as u32 + self.line_offset)
        } else {
            (0, 1 + self.line_offset)
        };
        // The `---` line itself is left out unless the document's content begins on it.
        let marker = self.source[start..].split_inclusive('\n').next();
        if let (true, Some(marker)) = (explicit, marker) {
            let rest = marker.trim_start_matches("---").trim();
            if rest.is_empty() || rest.starts_with('#') {
                start += marker.len();
                line += 1;
            }
        }
        self.current = Some(Current {
            document: raw_document(start, line),
            frames: Vec::new(),
            anchors: BTreeMap::new(),
        });
        Next::Go
    }

    /// Ends the current document at byte `end`, keeping what was read of an unfinished one.
    fn close(&mut self, end: usize) {
        let Some(mut current) = self.current.take() else {
            // A document that was given up ends where the next one starts.
            if let Some(last) = self.file.documents.last_mut().filter(|last| !last.finished) {
                last.end = end.max(last.start);
            }
            return;
        };
        // What is left open is closed for the sake of the identity; it gives no mistakes of its own.
        let faults = current.document.faults.len();
        while let Some(frame) = current.frames.pop() {
            let end = frame.place.end.max(frame.place.start);
            let measured = frame.finish(end, &mut current.document);
            attach(&mut current, measured);
        }
        current.document.faults.truncate(faults);
        let mut document = current.document;
        document.end = end.max(document.start);
        let empty = document.root.as_ref().is_none_or(|root| {
            root.scalar()
                .is_some_and(|scalar| scalar.resolved == Resolved::Null && scalar.text.is_empty())
        });
        if !(empty && document.faults.is_empty()) {
            self.file.documents.push(document);
        }
    }

    fn syntax_error(&mut self, error: &ScanError) -> Next {
        let marker = error.marker();
        let at = marker.byte_offset().unwrap_or(self.source.len());
        let place = Place {
            start: at,
            end: at,
            ..Place::at(
                marker.line() as u32 + self.line_offset,
                marker.col() as u32 + 1,
            )
        };
        let fault = match error.kind() {
            granit_parser::ErrorKind::RecursionLimitExceeded => self.too_deep(place),
            granit_parser::ErrorKind::DirectiveDisallowed => {
                Fault::new("yaml-directive", place, "directives are not supported")
            }
            kind => self.explained(kind, place),
        };
        let line_start = self.source[..at.min(self.source.len())]
            .rfind('\n')
            .map_or(0, |at| at + 1);
        if self.current.is_none() {
            self.close(line_start);
            if self.file.documents.len() >= self.limits.documents {
                self.file.fault = Some(fault);
                return Next::Stop;
            }
            self.current = Some(Current {
                document: raw_document(line_start, place.line),
                frames: Vec::new(),
                anchors: BTreeMap::new(),
            });
        }
        self.give_up(fault)
    }

    /// Returns a syntax error with what is behind it, where that can be told.
    fn explained(&self, kind: &granit_parser::ErrorKind, place: Place) -> Fault {
        use granit_parser::ErrorKind;
        let at = place.start.min(self.source.len());
        let read = self.file.documents.last().map_or(0, |last| last.end);
        let current = self.current.as_ref().map(|current| current.document.start);
        let start = current.unwrap_or(read).min(at);
        let line_end = self.source[at..].find('\n').map(|end| at + end);
        let within = start..line_end.unwrap_or(self.source.len());
        if let Some(line) = hints::merge_marker(self.source, within.clone()) {
            let after = self.source[line.start..at].matches('\n').count() as u32;
            let place = Place {
                length: line.len() as u32,
                start: line.start,
                end: line.end,
                ..Place::at(place.line - after, 1)
            };
            let message = "a merge was not finished: its marks are still here";
            return Fault::new("yaml-syntax", place, message).hint(
                "keep one side, and remove the lines that begin with <<<<<<<, ======= and >>>>>>>",
            );
        }
        let fault = Fault::new("yaml-syntax", place, kind.to_string());
        let hint = match kind {
            ErrorKind::ExpectedBlockMappingKey
            | ErrorKind::ExpectedBlockSequenceEntry
            | ErrorKind::MappingValueNotAllowed
            | ErrorKind::InvalidIndentation => hints::indentation(self.source, within),
            _ => None,
        };
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    fn too_deep(&self, place: Place) -> Fault {
        let message = format!("nested deeper than {} levels", self.limits.depth);
        Fault::new("too-deep", place, message)
    }

    /// Gives up the current document.
    fn give_up(&mut self, fault: Fault) -> Next {
        if let Some(current) = self.current.as_mut() {
            current.document.faults.push(fault);
            current.document.finished = false;
        }
        Next::Skip
    }

    /// Counts nodes and bytes; false when the file is beyond its limits.
    fn spend(&mut self, nodes: usize, bytes: usize, place: Place) -> bool {
        self.nodes += nodes;
        self.text_bytes += bytes;
        let message = if self.nodes > self.limits.nodes {
            format!("the file has more than {} values", self.limits.nodes)
        } else if self.text_bytes > self.limits.text_bytes {
            format!(
                "the file's texts have more than {} bytes, aliases expanded",
                self.limits.text_bytes
            )
        } else {
            return true;
        };
        self.file.fault = Some(Fault::new("too-large", place, message));
        if let Some(current) = self.current.as_mut() {
            current.document.finished = false;
        }
        false
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, span: &Span) -> Next {
        let (start, end) = byte_range(span);
        let slice = &self.source[start..end];
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let mut place = place_of(span, self.source, self.line_offset);
        if style == Style::Block {
            place.end = start + slice.trim_end().len();
        }
        // The parser says `~` for a value that is not there.
        let text = if slice.is_empty() && style == Style::Plain {
            ""
        } else {
            text
        };
        if !self.spend(1, text.len(), place) {
            return Next::Stop;
        }
        let Some(current) = self.current.as_mut() else {
            return Next::Go;
        };
        let resolved = match style {
            Style::Plain => resolve(text).unwrap_or_else(|why| {
                current.document.faults.push(Fault::new(
                    UNREADABLE_NUMBER,
                    place,
                    format!("`{text}` is ambiguous or out of range: {why}"),
                ));
                Resolved::Text
            }),
            Style::Quoted | Style::Block => Resolved::Text,
        };
        let scalar = Scalar {
            text: text.to_owned(),
            style,
            resolved,
            lines: lines_of(self.source, text, style, place),
        };
        let measured = Measured {
            node: Node {
                place,
                content: Content::Scalar(scalar),
            },
            height: 1,
            count: 1,
            bytes: text.len(),
        };
        self.finished(anchor, measured)
    }

    fn finished(&mut self, anchor: usize, measured: Measured) -> Next {
        // An anchored value is kept a second time, so it counts twice.
        let place = measured.node.place;
        if anchor != 0 && !self.spend(measured.count, measured.bytes, place) {
            return Next::Stop;
        }
        if let Some(current) = self.current.as_mut() {
            if anchor != 0 {
                current.anchors.insert(anchor, measured.clone());
            }
            attach(current, measured);
        }
        Next::Go
    }

    fn push(
        &mut self,
        style: StructureStyle,
        anchor: usize,
        span: &Span,
        children: Children,
    ) -> Next {
        let place = place_of(span, self.source, self.line_offset);
        if !self.spend(1, 0, place) {
            return Next::Stop;
        }
        let Some(current) = self.current.as_mut() else {
            return Next::Go;
        };
        if current.frames.len() >= self.limits.depth {
            return self.give_up(self.too_deep(place));
        }
        current.frames.push(Frame {
            place,
            flow: match style {
                StructureStyle::Block => Flow::Block,
                StructureStyle::Flow => Flow::Flow,
            },
            anchor,
            height: 0,
            count: 1,
            bytes: 0,
            children,
        });
        Next::Go
    }

    fn pop(&mut self, span: &Span) -> Next {
        let end = byte_range(span).1;
        let Some(current) = self.current.as_mut() else {
            return Next::Go;
        };
        let Some(mut frame) = current.frames.pop() else {
            return Next::Go;
        };
        let anchor = frame.anchor;
        if frame.flow == Flow::Flow {
            frame.place.end = end;
            let whole = &self.source[frame.place.start..end];
            let first = whole.split('\n').next().unwrap_or("").trim_end();
            frame.place.length = first.chars().count() as u32;
        }
        let measured = frame.finish(end, &mut current.document);
        self.finished(anchor, measured)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Next {
        let place = place_of(span, self.source, self.line_offset);
        self.aliases += 1;
        if self.aliases > limits::ALIASES_MAX {
            let message = format!("the file has more than {} aliases", limits::ALIASES_MAX);
            self.file.fault = Some(Fault::new("too-large", place, message));
            if let Some(current) = self.current.as_mut() {
                current.document.finished = false;
            }
            return Next::Stop;
        }
        let Some(current) = self.current.as_mut() else {
            return Next::Go;
        };
        let Some(target) = current.anchors.get(&id) else {
            let message = "an alias cannot stand inside the value that it repeats";
            return self.give_up(Fault::new("yaml-alias", place, message));
        };
        if current.frames.len() + target.height > self.limits.depth {
            return self.give_up(self.too_deep(place));
        }
        // Counted before it is copied: a bomb of aliases ends here.
        let (count, bytes) = (target.count, target.bytes);
        if !self.spend(count, bytes, place) {
            return Next::Stop;
        }
        let target = self
            .current
            .as_ref()
            .and_then(|current| current.anchors.get(&id));
        match target.cloned() {
            Some(target) => self.finished(0, target),
            None => Next::Go,
        }
    }
}

impl Frame {
    /// Closes the collection. Repeated keys are mistakes; the first one stays.
    fn finish(self, end: usize, document: &mut RawDocument) -> Measured {
        let mut place = self.place;
        let content = match self.children {
            Children::List(items) => {
                if let (Flow::Block, Some(first), Some(last)) =
                    (self.flow, items.first(), items.last())
                {
                    place.length = first.place.length;
                    place.end = last.place.end;
                }
                Content::List(items, self.flow)
            }
            Children::Map(entries, _) => {
                let entries = without_repeated(entries, document);
                if let (Flow::Block, Some(first), Some(last)) =
                    (self.flow, entries.first(), entries.last())
                {
                    place.length = first.key_place.length;
                    place.end = last.value.place.end.max(last.key_place.end);
                }
                Content::Map(entries, self.flow)
            }
        };
        if self.flow == Flow::Flow {
            place.end = end;
        }
        Measured {
            node: Node { place, content },
            height: self.height + 1,
            count: self.count,
            bytes: self.bytes,
        }
    }
}

fn without_repeated(entries: Vec<Entry>, document: &mut RawDocument) -> Vec<Entry> {
    let mut first: BTreeMap<String, Place> = BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(place) = first.get(&entry.key) {
            let message = format!("the key `{}` is repeated", entry.key);
            let mut fault = Fault::new("duplicate-key", entry.key_place, message);
            fault.related = Some((*place, "first written here"));
            document.faults.push(fault);
            document.repeated = true;
        } else {
            first.insert(entry.key.clone(), entry.key_place);
            kept.push(entry);
        }
    }
    kept
}

fn raw_document(start: usize, line: u32) -> RawDocument {
    RawDocument {
        start,
        end: start,
        line,
        root: None,
        faults: Vec::new(),
        finished: true,
        repeated: false,
    }
}

fn attach(current: &mut Current, measured: Measured) {
    let faults = &mut current.document.faults;
    let Some(frame) = current.frames.last_mut() else {
        current.document.root = Some(measured.node);
        return;
    };
    frame.count += measured.count;
    frame.bytes += measured.bytes;
    frame.height = frame.height.max(measured.height);
    match &mut frame.children {
        Children::List(items) => items.push(measured.node),
        Children::Map(entries, pending) => match pending.take() {
            Some((key, key_place)) => entries.push(Entry {
                key,
                key_place,
                value: measured.node,
            }),
            None => *pending = Some(key_of(measured.node, faults)),
        },
    }
}

fn key_of(node: Node, faults: &mut Vec<Fault>) -> (String, Place) {
    let place = node.place;
    let kind = node.kind();
    let Content::Scalar(scalar) = node.content else {
        faults.push(Fault::new(
            "bad-key",
            place,
            format!("{kind} cannot be a key"),
        ));
        return (String::new(), place);
    };
    if scalar.style == Style::Plain && scalar.text == "<<" {
        let fault = Fault::new("yaml-merge", place, "merge keys are not supported");
        faults.push(fault.hint("write the fields out"));
    } else if scalar.resolved != Resolved::Text {
        let message = format!("the key `{}` is {kind}, not a string", scalar.text);
        faults.push(Fault::new("bad-key", place, message).hint("put it in quotes"));
    }
    (scalar.text, place)
}
