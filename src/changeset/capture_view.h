#pragma once

#include <string>
#include <string_view>

#include "changeset/capture.h"

// What of the base a run could see: questions to a CaptureView.

namespace bailiff {

// The path in `view.whole` at or below which `path` lies; empty when there is none.
std::string_view WholeFolderOf(const CaptureView& view, std::string_view path);

// Whether the run saw the base entry at `path`.
bool Shows(const CaptureView& view, std::string_view path);

// Whether `path` names a directory that was there for the run whatever it did.
bool IsFolder(const CaptureView& view, const std::string& path);

// False below what is closed, but for what is allowed there.
bool MayMake(const CaptureView& view, std::string_view path);

}  // namespace bailiff
