//! What Rowcall tells about itself.
