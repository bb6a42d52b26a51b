//! What the tests run: the shim, a small server as an instance's command, and an agent to kill.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use drover_model::{
    Digests, Epoch, FleetName, GroupName, InstanceId, ProviderName, Template, TemplateParts,
    Timestamp, Token, Value,
};
use drover_provider::{Clock, ProviderFactory as _, ProvisionRequest, Slot};
use drover_provider_process::{ProcessFactory, ShimProgram, shim_main};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|mode| mode.to_str()) {
        Some("shim") => shim_main(args),
        Some("serve") => serve(args),
        Some("agent") => agent(args),
        _ => ExitCode::from(64),
    }
}

/// `serve PORT [ADDRESS]`: answers each connection with the instance's name.
fn serve(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let own = || std::env::var("DROVER_ADDRESS").unwrap_or_default();
    let address = args.get(1).cloned().unwrap_or_else(own);
    let listener = match TcpListener::bind(format!("{address}:{}", args[0])) {
        Ok(listener) => listener,
        Err(error) => {
            let message = format!("cannot listen on {address}:{}: {error}", args[0]);
            let _ = writeln!(std::io::stderr(), "{message}");
            return ExitCode::FAILURE;
        }
    };
    for connection in listener.incoming().flatten() {
        let name = std::env::var("DROVER_INSTANCE").unwrap_or_default();
        let _ = writeln!(&connection, "{name}");
    }
    ExitCode::SUCCESS
}

#[derive(Debug)]
struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// `agent DATA_DIR`: makes one instance that runs for long, says so, and waits to be killed.
fn agent(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let data_dir = PathBuf::from(args.next().expect("a data folder"));
    let shim = ShimProgram {
        program: std::env::current_exe().expect("a path"),
        args: vec![OsString::from("shim")],
    };
    let factory = ProcessFactory::new(data_dir, shim, Arc::new(System));
    let name = ProviderName::parse("local").expect("a name");
    let provider = factory
        .open(&name, &Value::empty_map())
        .expect("a provider");
    let runtime = tokio::runtime::Builder::new_multi_thread().build();
    let made = runtime
        .expect("a runtime")
        .block_on(provider.provision(&request()));
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{made:?}");
    let _ = stdout.flush();
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn request() -> ProvisionRequest {
    let group = GroupName::parse("web").expect("a name");
    let command = ["sleep", "1000"].map(Value::from).to_vec();
    let properties: Value = [("command".to_owned(), Value::List(command))]
        .into_iter()
        .collect();
    let template = Template::from(TemplateParts {
        properties: properties.clone(),
        flavors: Vec::new(),
        flavors_as_written: Value::Null,
        tags: std::collections::BTreeMap::new(),
    });
    let type_ = drover_model::ProviderType::parse("process").expect("a type");
    ProvisionRequest {
        zone: None,
        token: Token::parse(&"q".repeat(32)).expect("a token"),
        fleet: FleetName::parse("prod").expect("a name"),
        group: group.clone(),
        epoch: Epoch(1),
        digests: Digests::of(&type_, &template, &std::collections::BTreeMap::new()),
        slots: vec![Slot {
            instance: InstanceId::new(group, 1),
            init: Vec::new(),
            env: std::collections::BTreeMap::new(),
            tags: std::collections::BTreeMap::new(),
            attachments: Vec::new(),
            seat: None,
            secrets: BTreeMap::new(),
        }],
        properties,
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}
