//! Client tokens in front of moto, which ignores them: a call with the token of an earlier one is answered with what that
//! came to, or refused where it asks for something else, as EC2 does.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The calls that have a token, and what each came to.
type Known = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

/// Serves in front of `endpoint` for as long as the test runs. Returns where.
pub(crate) fn before(endpoint: &str) -> String {
    let server = endpoint.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let known = Known::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let (server, known) = (server.clone(), Arc::clone(&known));
            // Who asks may go away in the middle of it.
            std::thread::spawn(move || answer(stream, &server, &known));
        }
    });
    address
}

/// Answers one call, and closes the connection.
fn answer(stream: TcpStream, server: &str, known: &Known) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (head, body) = received(&mut reader)?;
    let said = called(
        &format!("{head}Connection: close\r\n\r\n{body}"),
        &body,
        server,
        known,
    )?;
    reader.into_inner().write_all(&said)
}

/// Reads a call: its head, without what becomes of the connection and the empty line, and its body.
pub(crate) fn received(reader: &mut BufReader<TcpStream>) -> io::Result<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

fn called(request: &str, body: &str, server: &str, known: &Known) -> io::Result<Vec<u8>> {
    let forward = || {
        let mut server = TcpStream::connect(server)?;
        server.write_all(request.as_bytes())?;
        let mut said = Vec::new();
        server.read_to_end(&mut said)?;
        Ok::<_, io::Error>(said)
    };
    let field = |name: &str| body.split('&').find_map(|field| field.strip_prefix(name));
    let Some((token, action)) = field("ClientToken=").zip(field("Action=")) else {
        return forward();
    };
    // Two calls with one token at once are one.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{action} {token}");
    match known.get(&key) {
        Some((asked, said)) if asked == body => Ok(said.clone()),
        Some(_) => Ok(refused()),
        None => {
            let said = forward()?;
            if said.starts_with(b"HTTP/1.1 200") {
                known.insert(key, (body.to_owned(), said.clone()));
            }
            Ok(said)
        }
    }
}

/// The answer to a call with the token of another one.
fn refused() -> Vec<u8> {
    let body = "<Response><Errors><Error><Code>IdempotentParameterMismatch</Code><Message>the client token was used with other \
                parameters</Message></Error></Errors><RequestID>0</RequestID></Response>";
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/xml\r\nConnection: close";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
