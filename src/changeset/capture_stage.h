#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "changeset/capture_compare.h"

namespace bailiff {

// Copies the bytes of `drafts` (in canonical order) to `holder`/stage/<id>/<n>, and fills
// sha256 and content of their changes. After an error stage/<id> is gone.
// Errors: kConflict when there is a stage/<id> already; kResourceExhausted; kIo.
Status StageBytes(const Fd& upper, Base* base, const Fd& holder, const std::string& id,
                  std::vector<Draft>* drafts);

}  // namespace bailiff
