#pragma once

#include "base/result.h"
#include "changeset/capture_pairs.h"

namespace bailiff {

// The second half of PairWithBase(): pairs files and symbolic links once the directories are
// paired, and fills Pairs::gone. Names of one upper inode are paired together: one of them carries
// the pairing, the others get Node::link_of.
Status PairFiles(Pairs* pairs, const Fd& upper_root, Base* base, const CaptureOptions& options);

}  // namespace bailiff
