//! What bad input gets: a clear error, and a server that is unharmed afterwards.

mod floods;
mod frames;
mod http;

use veza_loadtest::server::Server;
use veza_loadtest::testing::{room_of, user};

/// Two users talk: what every attack must leave as it was.
async fn unharmed(server: &Server) {
    let (mut one, mut two) = (user(server).await, user(server).await);
    let room = room_of(&mut [&mut one, &mut two]).await;
    assert_eq!(one.say(room, "still here").await, 1);
    assert_eq!(two.hear().await, (1, "still here".to_owned()));
}
