#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <map>
#include <utility>

#include "api/api.h"
#include "api/run_answers.h"
#include "base/bytes.h"
#include "core/queries.h"
#include "http/problem.h"
#include "http/sse.h"

namespace bailiff {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t kChunkBytes = 64UL * 1024;
constexpr std::chrono::seconds kHeartbeat{15};
// At what another process runs, or may take off the queue.
constexpr std::chrono::milliseconds kLookAgain{500};
constexpr std::size_t kUtf8BytesMax = 4;

// How far a client has come: the id of the last event that it saw, "<stdout>-<stderr>-<status>-
// <change state>". A new connection goes on from there.
struct Position {
  std::int64_t out = 0;
  std::int64_t err = 0;
  std::string status;
  std::string change_state = "none";

  std::string Text() const { return fmt::format("{}-{}-{}-{}", out, err, status, change_state); }
};

// Nothing when it is not one of ours.
std::optional<Position> ParsePosition(std::string_view text) {
  Position position;
  for (std::int64_t* number : {&position.out, &position.err}) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc() || *number < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.starts_with('-')) return std::nullopt;
    text.remove_prefix(1);
  }
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  position.status = text.substr(0, dash);
  position.change_state = text.substr(dash + 1);
  return position;
}

// The part of `bytes` that ends with a whole character, unless all of it is not UTF-8 anyway.
std::size_t WholeCharacters(std::string_view bytes) {
  for (std::size_t back = 1; back <= std::min(kUtf8BytesMax, bytes.size()); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;  // Within a character.
    const std::size_t length = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    return length > back ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

// What is new since a position, read in one go.
struct News {
  std::string out;
  std::string err;
  json::object document;
};

// One client that follows one execution. Of the io thread.
class Follower {
 public:
  Follower(ApiParts* parts, Actor actor, std::string id, Position position)
      : parts_(parts),
        actor_(std::move(actor)),
        id_(std::move(id)),
        position_(std::move(position)),
        signal_(std::make_shared<Signal>(parts->io)),
        subscription_(parts->live->Subscribe(id_, [signal = signal_] { signal->Raise(); })) {}

  // The next events; nothing after "done".
  asio::awaitable<std::optional<std::string>> Next() {
    if (done_) co_return std::nullopt;
    const auto heartbeat = std::chrono::steady_clock::now() + kHeartbeat;
    for (;;) {
      // Before the files and the document are read, so that what comes meanwhile is not missed.
      const std::optional<Live::State> live = parts_->live->Get(id_);
      Result<News> news = co_await Read();
      if (!news.ok()) {
        done_ = true;
        co_return std::nullopt;
      }
      std::string frames = Frames(news.value(), live);
      if (!frames.empty()) co_return frames;
      const auto now = std::chrono::steady_clock::now();
      if (now >= heartbeat) co_return ": still there\n\n";
      const bool runs_here = live.has_value() && live->status != "queued";
      co_await signal_->Wait(runs_here ? heartbeat : std::min(heartbeat, now + kLookAgain));
    }
  }

 private:
  asio::awaitable<Result<News>> Read() {
    const auto work = [id = id_, out = position_.out,
                       err = position_.err](Context& context) -> Result<News> {
      News news;
      news.document = TRY(ExecutionDocument(context, id));
      news.out = TRY(ReadKeptOutput(context, id, Stream::kOut, out, kChunkBytes));
      news.err = TRY(ReadKeptOutput(context, id, Stream::kErr, err, kChunkBytes));
      return news;
    };
    return parts_->readers->Run(actor_, work);
  }

  std::string Frames(News& news, const std::optional<Live::State>& live) {
    std::string status(news.document.at("status").as_string());
    std::string change_state(news.document.at("changes").as_object().at("state").as_string());
    const bool ended = status != "queued" && status != "running";
    if (!ended && live.has_value() && !live->change_state.empty()) {
      change_state = live->change_state;
    }
    if (!ended && live.has_value() && live->status == "running") status = "running";
    std::string frames;
    if (!ended && status != position_.status) frames += StatusFrame(status);
    frames += OutputFrame("stdout", news.out, ended, &position_.out);
    frames += OutputFrame("stderr", news.err, ended, &position_.err);
    const bool more = news.out.size() == kChunkBytes || news.err.size() == kChunkBytes;
    if (more) return frames;
    if (change_state != "none" && change_state != position_.change_state) {
      frames += ChangesFrame(change_state,
                             ended ? news.document.at("changes").as_object() : json::object());
    }
    if (!ended) return frames;
    if (status != position_.status) frames += StatusFrame(status);
    frames += EventFrame(position_.Text(), "done", json::serialize(news.document));
    done_ = true;
    return frames;
  }

  std::string StatusFrame(const std::string& status) {
    position_.status = status;
    json::object data;
    data["status"] = status;
    return EventFrame(position_.Text(), "status", json::serialize(data));
  }

  std::string ChangesFrame(const std::string& state, json::object data) {
    position_.change_state = state;
    data["state"] = state;
    return EventFrame(position_.Text(), "changes", json::serialize(data));
  }

  std::string OutputFrame(std::string_view stream, std::string_view bytes, bool ended,
                          std::int64_t* at) {
    const bool last = ended && bytes.size() < kChunkBytes;
    const std::string_view whole = bytes.substr(0, last ? bytes.size() : WholeCharacters(bytes));
    if (whole.empty()) return "";
    json::object data;
    data["stream"] = stream;
    data["offset"] = *at;
    data["text"] = ToUtf8Lossy(whole);
    *at += static_cast<std::int64_t>(whole.size());
    return EventFrame(position_.Text(), "output", json::serialize(data));
  }

  ApiParts* parts_;
  Actor actor_;
  std::string id_;
  Position position_;
  std::shared_ptr<Signal> signal_;
  std::unique_ptr<Live::Subscription> subscription_;
  bool done_ = false;
};

// How many follow, in all and of each principal. Of the io thread.
struct Followers {
  std::size_t all = 0;
  std::map<std::string, std::size_t> by_principal;
};

// Counts one, for as long as it lives.
std::shared_ptr<void> CountOne(const std::shared_ptr<Followers>& followers,
                               const std::string& principal) {
  ++followers->all;
  ++followers->by_principal[principal];
  return {nullptr, [followers, principal](void*) {
            --followers->all;
            if (--followers->by_principal[principal] == 0) followers->by_principal.erase(principal);
          }};
}

asio::awaitable<HttpResponse> Follow(ApiParts* parts, std::shared_ptr<Followers> followers,
                                     ApiCall call) {
  const std::string id = call.request.params.at("id");
  Position position;
  if (const std::string* last = call.request.Header("Last-Event-ID")) {
    std::optional<Position> parsed = ParsePosition(*last);
    if (!parsed.has_value()) {
      co_return Problem(422, "invalid_argument", "is not the id of an event of this stream",
                        "header:Last-Event-ID");
    }
    position = std::move(*parsed);
  }
  const bool full = followers->all >= parts->limits.streams_max;
  const auto mine = followers->by_principal.find(call.actor.name);
  if (full || (mine != followers->by_principal.end() &&
               mine->second >= parts->limits.streams_per_principal)) {
    HttpResponse busy = Problem(
        full ? 503 : 429, "too_many_streams",
        fmt::format("{} follow already; close some first",
                    full ? std::to_string(parts->limits.streams_max) + " clients"
                         : std::to_string(parts->limits.streams_per_principal) + " of yours"));
    busy.headers.emplace_back("Retry-After", "5");
    co_return busy;
  }
  std::shared_ptr<void> count = CountOne(followers, call.actor.name);
  const auto work = [id](Context& context) -> Status {
    TRY(MaySee(context, id));
    TRY(ExecutionDocument(context, id));
    return Ok();
  };
  const Status seen = co_await parts->readers->Run(call.actor, work);
  if (!seen.ok()) co_return ProblemOf(seen.error());
  const auto follower = std::make_shared<Follower>(parts, call.actor, id, std::move(position));
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/event-stream");
  response.stream = [follower, count] { return follower->Next(); };
  co_return response;
}

}  // namespace

std::vector<ApiRoute> EventRoutes(ApiParts* parts) {
  const auto followers = std::make_shared<Followers>();
  std::vector<ApiRoute> routes;
  routes.push_back({.method = "GET",
                    .pattern = "/v1/executions/{id}/events",
                    .name = "followExecution",
                    .summary = "Server-sent events: status, output, changes, done. Last-Event-ID "
                               "goes on where a connection ended.",
                    .response = "Event",
                    .failures = {404, 429, 503},
                    .media = "text/event-stream",
                    .handler = [parts, followers](ApiCall call) {
                      return Follow(parts, followers, std::move(call));
                    }});
  return routes;
}

}  // namespace bailiff
