//! chat-server

use std::process::ExitCode;

fn main() -> ExitCode {
    veza_chat_server::cli::main(|_| Err("this build has no server".into()))
}
