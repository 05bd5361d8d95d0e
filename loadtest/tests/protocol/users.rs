//! The server's own users: register, login, refresh, reuse of a refresh token.

use serde_json::{Value, json};
use veza_loadtest::client::Client;
use veza_loadtest::http;
use veza_loadtest::testing::{fresh, number, shape, standard};

const TOKENS: &str = "user_id username access_token refresh_token expires_in";

async fn auth(action: &str, body: Value) -> http::Response {
    http::post(standard().addr(), &format!("/api/v1/auth/{action}"), None, &body).await.expect("an answer")
}

async fn registered(name: &str) -> Value {
    let answer = auth("register", json!({"username": name, "password": "correct horse battery"})).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    shape(&answer.json(), TOKENS);
    answer.json()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} in {value}"))
}

#[tokio::test]
async fn register_login_and_talk() {
    let name = fresh("Alice");
    let user = registered(&name).await;
    let login = auth("login", json!({"username": name, "password": "correct horse battery"})).await;
    assert_eq!(login.status, 200);
    shape(&login.json(), TOKENS);
    assert_eq!(number(&login.json(), "user_id"), number(&user, "user_id"));
    for tokens in [&user, &login.json()] {
        assert_eq!(number(tokens, "expires_in"), 900);
        let client = Client::connect(standard().addr(), text(tokens, "access_token")).await.expect("its own token");
        assert_eq!((client.user_id(), &client.me["username"]), (number(&user, "user_id"), &json!(name)));
    }
}

#[tokio::test]
async fn what_is_refused() {
    let name = fresh("Bob");
    registered(&name).await;
    let long = "x".repeat(33);
    for (action, username, password, status, code) in [
        ("register", name.as_str(), "another password", 409, "CONFLICT"),
        ("register", &name.to_uppercase(), "another password", 409, "CONFLICT"),
        ("register", "ab", "another password", 400, "INVALID_REQUEST"),
        ("register", &long, "another password", 400, "INVALID_REQUEST"),
        ("register", "white space", "another password", 400, "INVALID_REQUEST"),
        ("register", "Алиса", "another password", 400, "INVALID_REQUEST"),
        ("register", "shortpw", "", 400, "INVALID_REQUEST"),
        ("login", &name, "wrong password", 401, "INVALID_CREDENTIALS"),
        ("login", "nobody-of-that-name", "wrong password", 401, "INVALID_CREDENTIALS"),
    ] {
        let answer = auth(action, json!({"username": username, "password": password})).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{action} {username}");
    }
    for body in [json!({}), json!([]), json!({"username": 7, "password": true}), json!({"username": name})] {
        assert_eq!(auth("login", body.clone()).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let user = registered(&fresh("Carol")).await;
    let mut client = Client::connect(standard().addr(), text(&user, "access_token")).await.expect("good");
    let next = auth("refresh", json!({"refresh_token": text(&user, "refresh_token")})).await;
    assert_eq!(next.status, 200, "{}", next.json());
    let next = next.json();
    assert_ne!(next["refresh_token"], user["refresh_token"]);
    client.ok("refresh_token", json!({"token": text(&next, "access_token")})).await;

    let stolen = auth("refresh", json!({"refresh_token": text(&user, "refresh_token")})).await;
    assert_eq!((stolen.status, &stolen.json()["code"]), (401, &json!("INVALID_CREDENTIALS")));
    assert_eq!(client.close_code().await.expect("an end"), Some(3505));
    for (action, body) in [("refresh", json!({"refresh_token": text(&next, "refresh_token")}))] {
        assert_eq!(auth(action, body).await.status, 401, "the whole session has ended");
    }
    let response = http::command(standard().addr(), text(&next, "access_token"), "get_unread", &json!({})).await;
    assert_eq!(response.expect("an answer").status, 401);
}

#[tokio::test]
async fn tokens_are_what_they_say() {
    let user = registered(&fresh("Dave")).await;
    let (access, refresh) = (text(&user, "access_token"), text(&user, "refresh_token"));
    assert!(Client::connect(standard().addr(), refresh).await.is_err(), "a refresh token is no access token");
    let answer = auth("refresh", json!({"refresh_token": access})).await;
    assert!([400, 401].contains(&answer.status), "an access token is no refresh token");
}
