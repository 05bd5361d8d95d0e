//! `chat-server`: see [`veza_chat_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    veza_chat_server::cli::main(veza_chat_server::server::run)
}
