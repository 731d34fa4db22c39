#pragma once

#include <optional>
#include <string>

#include "http/message.h"

namespace bailiff {

// The secret that a request carries: the token of "Authorization: Bearer T", or the password of
// basic authentication (the user's name is not looked at). Nothing when there is no such header,
// more than one, another scheme, an empty secret, or one that is malformed.
std::optional<std::string> CredentialOf(const HttpRequest& request);

}  // namespace bailiff
