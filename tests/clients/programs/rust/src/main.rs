// The Rust client of openapi-generator at work; docs/clients/rust.md shows it. Arguments: URL and
// API key.

use imagegate::apis::configuration::Configuration;
use imagegate::apis::images_api::*;
use imagegate::apis::Error;
use imagegate::models::Problem;

mod report;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let gateway = Configuration {
        base_path: arguments[1].clone(),
        bearer_access_token: Some(arguments[2].clone()),
        ..Configuration::new()
    };

    let picture = UploadImageParams { file: "img.jpg".into(), profile: Some("lossless".into()), ..Default::default() };
    let uploaded = upload_image(&gateway, picture).await?;
    let image_id = uploaded.id.clone();

    let wanted = DescribeImageParams { image_id: image_id.clone(), ..Default::default() };
    let described = describe_image(&gateway, wanted.clone()).await?;

    let download = DownloadImageParams { image_id: image_id.clone(), ..Default::default() };
    let downloaded = download_image(&gateway, download).await?;
    std::fs::write("out.jpg", downloaded.bytes().await?)?;

    let page = ListImagesParams { limit: Some(1), ..Default::default() };
    let first = list_images(&gateway, page.clone()).await?;
    let second = list_images(&gateway, ListImagesParams { cursor: first.next_cursor.clone(), ..page }).await?;

    let notes = UploadImageParams { file: "notes.txt".into(), ..Default::default() };
    let refused = problem_of(upload_image(&gateway, notes).await);

    delete_image(&gateway, DeleteImageParams { image_id, ..Default::default() }).await?;
    let gone = problem_of(describe_image(&gateway, wanted).await);

    report::print(&described, &[first, second], &refused, &gone);
    Ok(())
}

fn problem_of<T, E>(result: Result<T, Error<E>>) -> Problem {
    match result {
        Err(Error::ResponseError(response)) => serde_json::from_str(&response.content).expect("a problem"),
        _ => panic!("not refused"),
    }
}
