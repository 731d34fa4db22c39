#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
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

// Whether there is an execution, plan or proposal with this id that the context's actor may know
// of. Errors: kNotFound, with the same words for what is not there and what may not be seen.
Status MaySee(Context& context, const std::string& id);

// The same for a path of the workspace: a principal that is limited to cases sees those and Tools/.
Status MaySeePath(Context& context, const std::string& path);

// The documents of executions that the context's actor may know of, newest first, and where the
// next page begins.
struct Page {
  boost::json::array documents;
  std::int64_t next = 0;  // `before_seq` of the next one; 0: this is the last.
};
Result<Page> ExecutionsPage(Context& context, ExecutionFilter filter);
Result<Page> ProposalsPage(Context& context, ProposalFilter filter);

// The execution document as it is now. Errors: kNotFound.
Result<boost::json::object> ExecutionDocument(Context& context, const std::string& id);

// What lint found when the change set was decided, a line each, and that it does not protect.
// Nothing where nothing was found, or nobody looked.
std::string LintLines(const ProposalRow& row);

// A change set as a reviewer reads it (changeset/diff.h), after what lint found. Of a committed
// one, old content comes from what the commit put aside, for as long as it is kept; of a dropped
// one there is none. `path`: only changes at, below, or from there. Errors: kNotFound.
Result<std::string> DiffOf(Context& context, const std::string& id,
                           const std::optional<std::string>& path);

// The document of `changes ID`: the proposal, with every change. Errors: kNotFound when there is no
// such execution or proposal.
Result<boost::json::object> ChangesOf(Context& context, const std::string& id);

// The same of a proposal that has been read, and its change set.
boost::json::object ChangesToJson(const ProposalRow& row, const ChangeSet& set);

// What `path` will hold, or holds, by a change set that is not dropped: the whole file, or
// kNotFound where the change set brings nothing there. Errors: kResourceExhausted when it is larger
// than `bytes_max`; kConflict when it is no longer what the change set says.
Result<std::string> FileOf(Context& context, const std::string& id, const std::string& path,
                           std::size_t bytes_max);

// The document of `history [PATH]`: "path" and "events", newest first. `path` as NormalizePath()
// gives it.
Result<boost::json::object> HistoryOf(Context& context, const std::string& path,
                                      std::int64_t limit);

// Of the kept bytes of one stream: how many there are, and those from `offset`, at most
// `bytes_max`. They grow while the execution runs.
Result<std::int64_t> KeptOutputSize(const Context& context, const std::string& id, Stream stream);
Result<std::string> ReadKeptOutput(const Context& context, const std::string& id, Stream stream,
                                   std::int64_t offset, std::size_t bytes_max);

// Kept bytes of one stream; empty when there are none.
Result<std::string> KeptOutputOf(const Context& context, const std::string& id, Stream stream);

}  // namespace bailiff
