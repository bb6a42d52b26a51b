//! In front of moto, what it does not keep. It ignores client tokens: a call with the token of an earlier one is
//! answered with what that came to, or refused where it asks for something else, as EC2 does. A description of what a
//! token has made, a filter that moto does not have, asks for the instances instead. An interface that an instance has is
//! not given to another one. And a batch is made whole, where moto makes as few as it may.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a call says which interface an instance is to have.
const INTERFACE: &str = "NetworkInterface.1.NetworkInterfaceId";

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
    let body = by_instance(body, known);
    let said = called(&head, &body, server, known)?;
    reader.into_inner().write_all(&said)
}

/// Reads a call: its head, without what becomes of the connection, the length and the empty line, and its body.
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
        } else if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

fn field<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = body.split('&').filter_map(|field| field.split_once('='));
    fields.find_map(|(key, value)| (key == name).then_some(value))
}

/// Asks for instances by their ids where they are asked for by the token that made them.
fn by_instance(body: String, known: &Known) -> String {
    let Some(before) = body.split_once("=client-token&").map(|(before, _)| before) else {
        return body;
    };
    let filter = before.rsplit('&').next().unwrap().replace(".Name", ".");
    let value = format!("{filter}Value.1");
    let token = field(&body, &value).unwrap();
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let made = known.get(&format!("RunInstances {token}"));
    let made = made.map(|(_, said)| instances(said));
    // No instance has this id.
    let made = made.unwrap_or_else(|| vec!["i-0".to_owned()]);
    let others = body.split('&').filter(|field| !field.starts_with(&filter));
    let mut asked: Vec<String> = others.map(str::to_owned).collect();
    asked.push(format!("{filter}Name=instance-id"));
    for (index, id) in (1..).zip(made) {
        asked.push(format!("{filter}Value.{index}={id}"));
    }
    asked.join("&")
}

fn called(head: &str, body: &str, server: &str, known: &Known) -> io::Result<Vec<u8>> {
    let forward = |body: &str| {
        let length = body.len();
        let request = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let mut server = TcpStream::connect(server)?;
        server.write_all(request.as_bytes())?;
        let mut said = Vec::new();
        server.read_to_end(&mut said)?;
        Ok::<_, io::Error>(said)
    };
    let Some((token, action)) = field(body, "ClientToken").zip(field(body, "Action")) else {
        return forward(body);
    };
    // Two calls with one token at once are one.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{action} {token}");
    match known.get(&key) {
        Some((asked, said)) if asked == body => return Ok(said.clone()),
        Some(_) => {
            let why = "the client token was used with other parameters";
            return Ok(refused("IdempotentParameterMismatch", why));
        }
        None => {}
    }
    for holder in holders(body, &known) {
        let described = forward(&format!(
            "Action=DescribeInstances&Version=2016-11-15&InstanceId.1={holder}"
        ))?;
        if !String::from_utf8_lossy(&described).contains("<name>terminated</name>") {
            let why = format!("the interface is in use by {holder}");
            return Ok(refused("InvalidNetworkInterface.InUse", &why));
        }
    }
    let most = field(body, "MaxCount").unwrap_or("1");
    let said = forward(&body.replace("MinCount=1&", &format!("MinCount={most}&")))?;
    if said.starts_with(b"HTTP/1.1 200") {
        known.insert(key, (body.to_owned(), said.clone()));
    }
    Ok(said)
}

/// Returns the instances that were given the interface that a call names.
fn holders(body: &str, known: &BTreeMap<String, (String, Vec<u8>)>) -> Vec<String> {
    let Some(interface) = field(body, INTERFACE) else {
        return Vec::new();
    };
    let calls = known.values();
    calls
        .filter(|(asked, _)| field(asked, INTERFACE) == Some(interface))
        .flat_map(|(_, said)| instances(said))
        .collect()
}

/// Returns the instances in an answer.
fn instances(said: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(said);
    let ids = said.split("<instanceId>").skip(1);
    ids.map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect()
}

/// The answer to a call that EC2 would refuse.
fn refused(code: &str, why: &str) -> Vec<u8> {
    let body = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{why}</Message></Error></Errors><RequestID>0</RequestID></Response>"
    );
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/xml\r\nConnection: close";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
