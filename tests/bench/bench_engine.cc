// The engine alone: one process, no HTTP, no queue. A line of standard input has the request run
// once, and is answered by the seconds that it took.
// usage: bench_engine WORKSPACE STATE REQUEST      (absolute paths; the JSON that POST takes)

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>

#include "core/executions.h"
#include "core/request_json.h"

namespace bailiff {
namespace {

Status RunOnce(Context& context, const boost::json::object& body) {
  RunRequest request = TRY(RequestFromJson(body));
  PreparedRun run = TRY(Prepare(context, std::move(request)));
  const Execution execution = TRY(Execute(context, std::move(run), RunObserver{}));
  if (execution.status == "succeeded") return Ok();
  return Error(ErrorCode::kInternal, execution.status + ": " + execution.error);
}

Status Serve(const ContextOptions& options, const boost::json::object& body) {
  const std::unique_ptr<Context> context = TRY(Context::Open(options));
  TRY(context->OpenRecords());
  for (std::string line; std::getline(std::cin, line);) {
    const auto begin = std::chrono::steady_clock::now();
    TRY(RunOnce(*context, body));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::printf("%.6f\n", seconds.count());
    (void)std::fflush(stdout);
  }
  return Ok();
}

}  // namespace
}  // namespace bailiff

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_engine WORKSPACE STATE REQUEST\n");
    return 2;
  }
  bailiff::ContextOptions options;
  options.workspace_path = argv[1];
  options.state_path = argv[2];
  options.actor.name = "local:0";
  options.actor.embedded = true;
  const boost::json::value body = boost::json::parse(argv[3]);
  const bailiff::Status served = bailiff::Serve(options, body.as_object());
  if (served.ok()) return 0;
  std::fprintf(stderr, "bench_engine: %s\n", served.error().message().c_str());
  return 1;
}
