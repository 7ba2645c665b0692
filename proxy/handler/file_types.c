/* In: a file's name. Out: its media type. The names are those of IANA's registry; texts are taken
 * to be UTF-8. Sorted, for bsearch. */
#include "proxy/handler/file_types.h"

#include <stdlib.h>

#define UTF8 "; charset=utf-8"
#define EXTENSION_MAX 16

static const struct type {
    const char *extension;
    struct slice type;
} types[] = {
    {"7z", S_INIT("application/x-7z-compressed")},
    {"aac", S_INIT("audio/aac")},
    {"apk", S_INIT("application/vnd.android.package-archive")},
    {"apng", S_INIT("image/apng")},
    {"atom", S_INIT("application/atom+xml")},
    {"avi", S_INIT("video/x-msvideo")},
    {"avif", S_INIT("image/avif")},
    {"bmp", S_INIT("image/bmp")},
    {"bz2", S_INIT("application/x-bzip2")},
    {"cjs", S_INIT("text/javascript" UTF8)},
    {"css", S_INIT("text/css" UTF8)},
    {"csv", S_INIT("text/csv" UTF8)},
    {"deb", S_INIT("application/vnd.debian.binary-package")},
    {"doc", S_INIT("application/msword")},
    {"docx", S_INIT("application/vnd.openxmlformats-officedocument.wordprocessingml.document")},
    {"eot", S_INIT("application/vnd.ms-fontobject")},
    {"epub", S_INIT("application/epub+zip")},
    {"flac", S_INIT("audio/flac")},
    {"gif", S_INIT("image/gif")},
    {"gz", S_INIT("application/gzip")},
    {"heic", S_INIT("image/heic")},
    {"htm", S_INIT("text/html" UTF8)},
    {"html", S_INIT("text/html" UTF8)},
    {"ico", S_INIT("image/vnd.microsoft.icon")},
    {"ics", S_INIT("text/calendar" UTF8)},
    {"iso", S_INIT("application/x-iso9660-image")},
    {"jar", S_INIT("application/java-archive")},
    {"jpeg", S_INIT("image/jpeg")},
    {"jpg", S_INIT("image/jpeg")},
    {"js", S_INIT("text/javascript" UTF8)},
    {"json", S_INIT("application/json")},
    {"jsonld", S_INIT("application/ld+json")},
    {"jxl", S_INIT("image/jxl")},
    {"log", S_INIT("text/plain" UTF8)},
    {"m3u8", S_INIT("application/vnd.apple.mpegurl")},
    {"m4a", S_INIT("audio/mp4")},
    {"m4v", S_INIT("video/mp4")},
    {"map", S_INIT("application/json")},
    {"md", S_INIT("text/markdown" UTF8)},
    {"mjs", S_INIT("text/javascript" UTF8)},
    {"mkv", S_INIT("video/x-matroska")},
    {"mov", S_INIT("video/quicktime")},
    {"mp3", S_INIT("audio/mpeg")},
    {"mp4", S_INIT("video/mp4")},
    {"mpd", S_INIT("application/dash+xml")},
    {"mpeg", S_INIT("video/mpeg")},
    {"odp", S_INIT("application/vnd.oasis.opendocument.presentation")},
    {"ods", S_INIT("application/vnd.oasis.opendocument.spreadsheet")},
    {"odt", S_INIT("application/vnd.oasis.opendocument.text")},
    {"oga", S_INIT("audio/ogg")},
    {"ogg", S_INIT("audio/ogg")},
    {"ogv", S_INIT("video/ogg")},
    {"opus", S_INIT("audio/ogg")},
    {"otf", S_INIT("font/otf")},
    {"pdf", S_INIT("application/pdf")},
    {"png", S_INIT("image/png")},
    {"ppt", S_INIT("application/vnd.ms-powerpoint")},
    {"pptx", S_INIT("application/vnd.openxmlformats-officedocument.presentationml.presentation")},
    {"rar", S_INIT("application/vnd.rar")},
    {"rss", S_INIT("application/rss+xml")},
    {"rtf", S_INIT("application/rtf")},
    {"svg", S_INIT("image/svg+xml")},
    {"tar", S_INIT("application/x-tar")},
    {"tif", S_INIT("image/tiff")},
    {"tiff", S_INIT("image/tiff")},
    {"toml", S_INIT("application/toml")},
    {"ts", S_INIT("video/mp2t")},
    {"ttf", S_INIT("font/ttf")},
    {"txt", S_INIT("text/plain" UTF8)},
    {"vtt", S_INIT("text/vtt" UTF8)},
    {"wasm", S_INIT("application/wasm")},
    {"wav", S_INIT("audio/wav")},
    {"webm", S_INIT("video/webm")},
    {"webmanifest", S_INIT("application/manifest+json")},
    {"webp", S_INIT("image/webp")},
    {"woff", S_INIT("font/woff")},
    {"woff2", S_INIT("font/woff2")},
    {"xhtml", S_INIT("application/xhtml+xml")},
    {"xls", S_INIT("application/vnd.ms-excel")},
    {"xlsx", S_INIT("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")},
    {"xml", S_INIT("text/xml" UTF8)},
    {"xz", S_INIT("application/x-xz")},
    {"yaml", S_INIT("application/yaml")},
    {"yml", S_INIT("application/yaml")},
    {"zip", S_INIT("application/zip")},
    {"zst", S_INIT("application/zstd")},
};

static int compare(const void *key, const void *item)
{
    return strcmp(key, ((const struct type *)item)->extension);
}

struct slice file_type(struct slice name)
{
    char extension[EXTENSION_MAX];
    size_t dot = slice_rfind(name, '.');
    struct slice text = dot == SLICE_NPOS ? S("") : slice_from(name, dot + 1);
    if (text.n == 0 || text.n >= sizeof(extension)) {
        return S("");
    }
    for (size_t i = 0; i < text.n; i++) {
        extension[i] = ascii_lower(text.p[i]);
    }
    extension[text.n] = '\0';
    const struct type *t = bsearch(extension, types, ARRAY_LEN(types), sizeof(*types), compare);
    return t ? t->type : S("");
}
