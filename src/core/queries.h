#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "core/context.h"
#include "core/supervise.h"

// What is read, not done.

namespace bailiff {

// The whole id that `text` is, or is the beginning of.
// Errors: kNotFound; kInvalidArgument when several begin so, naming them.
Result<std::string> ResolveId(Context& context, const std::string& text);

// A change set as a reviewer reads it (changeset/diff.h). Of a committed one, old content comes
// from what the commit put aside, for as long as it is kept; of a dropped one there is none.
// `path`: only changes at, below, or from there. Errors: kNotFound.
Result<std::string> DiffOf(Context& context, const std::string& id,
                           const std::optional<std::string>& path);

// Kept bytes of one stream; empty when there are none.
Result<std::string> KeptOutputOf(const Context& context, const std::string& id, Stream stream);

}  // namespace bailiff
