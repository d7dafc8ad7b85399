use imagegate::models::{Image, ImagePage, Problem};
use serde_json::json;

/// Prints what the tests look at.
pub fn print(image: &Image, pages: &[ImagePage], refused: &Problem, gone: &Problem) {
    let listed: Vec<&String> = pages.iter().flat_map(|page| &page.images).map(|each| &each.id).collect();
    let report = json!({
        "image": image,
        "pages": listed,
        "refused": [json!(refused.status), json!(refused.code)],
        "gone": [json!(gone.status), json!(gone.code)],
    });
    println!("{report}");
}
