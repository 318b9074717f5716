//! stub until merged
/// Net
#[derive(Clone, Debug)]
pub struct Net;
impl std::str::FromStr for Net {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}
