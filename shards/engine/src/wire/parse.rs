//! From the bytes of a frame to a [`super::Command`].
