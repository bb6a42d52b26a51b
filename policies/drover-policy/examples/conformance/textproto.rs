//! Protobuf's text format, as far as test files need it.

/// A message: its fields in order, a name once for each of its values.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) fields: Vec<(String, Item)>,
}

/// The value of a field.
#[derive(Debug)]
pub(crate) enum Item {
    /// Quoted: text or bytes.
    Quoted(Vec<u8>),
    /// A number, an enumerated word, `true` or `false`.
    Word(String),
    Message(Message),
}

impl Message {
    /// Returns every value of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Item> {
        let named = move |field: &'a (String, Item)| (field.0 == name).then_some(&field.1);
        self.fields.iter().filter_map(named)
    }

    /// Returns the value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&Item> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, item)| item)
    }

    /// Returns the messages of a field.
    pub(crate) fn messages<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Message> {
        self.all(name).filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Quoted(_) | Item::Word(_) => None,
        })
    }

    /// Returns the text of a field; empty when it is not set.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.get(name) {
            Some(Item::Quoted(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(Item::Word(word)) => word.clone(),
            Some(Item::Message(_)) | None => String::new(),
        }
    }

    /// Returns whether a field is `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// Returns whether a field, here or below, has a name or a text that `wanted` says yes to.
    pub(crate) fn mentions(&self, wanted: &dyn Fn(&str) -> bool) -> bool {
        self.fields.iter().any(|(name, item)| {
            wanted(name)
                || match item {
                    Item::Quoted(bytes) => wanted(&String::from_utf8_lossy(bytes)),
                    Item::Word(word) => wanted(word),
                    Item::Message(message) => message.mentions(wanted),
                }
        })
    }
}

/// Parses a message, or says at which byte it cannot be understood.
pub(crate) fn parse(text: &str) -> Result<Message, String> {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
    };
    let message = reader.message(None);
    message.map_err(|why| format!("byte {}: {why}", reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Returns the next byte that means something.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte == b'#' {
                while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                    self.at += 1;
                }
            } else if byte.is_ascii_whitespace() || matches!(byte, b',' | b';') {
                self.at += 1;
            } else {
                return Some(byte);
            }
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        let taken = self.peek() == Some(wanted);
        self.at += usize::from(taken);
        taken
    }

    /// Reads fields up to the bracket that closes the message.
    fn message(&mut self, close: Option<u8>) -> Result<Message, String> {
        let mut message = Message::default();
        loop {
            match self.peek() {
                None if close.is_none() => return Ok(message),
                None => return Err("the message is not closed".to_owned()),
                Some(byte) if Some(byte) == close => {
                    self.at += 1;
                    return Ok(message);
                }
                Some(_) => self.field(&mut message)?,
            }
        }
    }

    fn field(&mut self, message: &mut Message) -> Result<(), String> {
        let name = if self.take(b'[') {
            let name = self.word();
            if !self.take(b']') {
                return Err("the name is not closed".to_owned());
            }
            name
        } else {
            self.word()
        };
        if name.is_empty() {
            return Err("a field has no name".to_owned());
        }
        self.take(b':');
        if self.take(b'[') {
            while !self.take(b']') {
                let item = self.item()?;
                message.fields.push((name.clone(), item));
            }
            return Ok(());
        }
        let item = self.item()?;
        message.fields.push((name, item));
        Ok(())
    }

    fn item(&mut self) -> Result<Item, String> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.message(Some(b'}')).map(Item::Message)
            }
            Some(b'<') => {
                self.at += 1;
                self.message(Some(b'>')).map(Item::Message)
            }
            Some(b'"' | b'\'') => {
                let mut all = Vec::new();
                while let Some(quote @ (b'"' | b'\'')) = self.peek() {
                    self.at += 1;
                    self.quoted(quote, &mut all)?;
                }
                Ok(Item::Quoted(all))
            }
            Some(_) => {
                let word = self.word();
                if word.is_empty() {
                    return Err("a value is missing".to_owned());
                }
                Ok(Item::Word(word))
            }
            None => Err("a value is missing".to_owned()),
        }
    }

    fn word(&mut self) -> String {
        self.peek();
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at)
            && (byte.is_ascii_alphanumeric() || b"_.+-/".contains(byte))
        {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn quoted(&mut self, quote: u8, all: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let byte = self.next()?;
            match byte {
                b'\\' => self.escape(all)?,
                byte if byte == quote => return Ok(()),
                byte => all.push(byte),
            }
        }
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| "the text is not closed".to_owned())
    }

    fn escape(&mut self, all: &mut Vec<u8>) -> Result<(), String> {
        let byte = self.next()?;
        let simple = match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'x' | b'X' => self.number(16, 2)? as u8,
            b'u' | b'U' => {
                let digits = if byte == b'u' { 4 } else { 8 };
                let code = self.number(16, digits)?;
                let character = char::from_u32(code).ok_or("not a character")?;
                all.extend(character.to_string().as_bytes());
                return Ok(());
            }
            b'0'..=b'7' => {
                self.at -= 1;
                self.number(8, 3)? as u8
            }
            other => other,
        };
        all.push(simple);
        Ok(())
    }

    /// Reads at most so many digits.
    fn number(&mut self, radix: u32, digits_max: usize) -> Result<u32, String> {
        let start = self.at;
        while self.at - start < digits_max
            && let Some(byte) = self.bytes.get(self.at)
            && char::from(*byte).is_digit(radix)
        {
            self.at += 1;
        }
        let digits = String::from_utf8_lossy(&self.bytes[start..self.at]);
        u32::from_str_radix(&digits, radix).map_err(|error| error.to_string())
    }
}
