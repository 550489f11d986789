#include "node_store.h"

#include <fcntl.h>

#include <utility>

#include "node_environment.h"
#include "node_trace.h"
#include "posix_file.h"

namespace varve {

Store::Store(napi_env env, std::string root, StoreConfig config)
    : env_(env),
      root_(std::move(root)),
      health_(std::make_shared<Health>(std::move(config.trace))),
      segments_(std::make_shared<SegmentGround>(health_, config.max_open_files)) {}

std::optional<Failure> Store::open(napi_env env, std::string root, StoreConfig config, std::shared_ptr<Store>& out) {
  std::shared_ptr<Store> store(new Store(env, std::move(root), std::move(config)));
  if (auto failure = store->lock_.acquire(store->root_)) return failure;
  if (Trace* const attached = store->health_->trace(); attached != nullptr && !attached->attach(store->root_)) {
    return Failure{FailureCode::invalid_argument, "trace: it has been used for another opening; make a new one"};
  }
  Store* raw = store.get();
  store->settled_wakeup_ = Wakeup::create(env, "varve.store", [raw](napi_env e) { raw->settle(e); });
  store->journal_wakeup_ = Wakeup::create(env, "varve.journal", [raw](napi_env e) { raw->report_progress(e); });
  store->health_->listen([raw] { raw->journal_wakeup_->wake(); });
  store->self_ = store;
  // Hooks run in reverse order: added after the functions were made, this one joins the threads that call them before
  // the environment takes them away.
  check(napi_add_env_cleanup_hook(env, tear_down, raw), "napi_add_env_cleanup_hook");
  out = std::move(store);
  return std::nullopt;
}

void Store::tear_down(void* data) {
  auto* store = static_cast<Store*>(data);
  const auto self = std::move(store->self_);
  store->closing_ = true;
  store->ends_reads_ = true;
  store->background_.request_stop();
  store->journal_filer_.request_stop();
  if (store->journal_) store->journal_->stop(false);
  store->stop_threads();
  store->journal_.reset();
  store->health_->listen(nullptr);
  store->settled_wakeup_->abandon();
  store->journal_wakeup_->abandon();
  store->lock_.release();
}

// ---- promises ----

napi_value Store::promise(Work work, bool closes, const std::function<void(Background::Job)>& post) {
  napi_deferred deferred = nullptr;
  napi_value result = nullptr;
  check(napi_create_promise(env_, &deferred, &result), "napi_create_promise");
  promises_++;
  settled_wakeup_->hold(true);
  post([this, deferred, closes, work = std::move(work)] {
    auto failure = work();
    {
      const std::lock_guard lock(mutex_);
      settled_.push_back({deferred, std::move(failure), closes});
    }
    settled_wakeup_->wake();
  });
  return result;
}

Failure Store::closed_failure() const {
  return {FailureCode::closed, "the data directory " + root_ + " was closed"};
}

napi_value Store::run_on(Background& thread, Work work) {
  if (!closing_) {
    return promise(std::move(work), false, [&thread](Background::Job job) { thread.post(std::move(job)); });
  }
  napi_deferred deferred = nullptr;
  napi_value result = nullptr;
  check(napi_create_promise(env_, &deferred, &result), "napi_create_promise");
  check(napi_reject_deferred(env_, deferred, make_error(env_, closed_failure())), "napi_reject_deferred");
  return result;
}

napi_value Store::run_read(Work work) {
  return run_on(reader_, [this, work = std::move(work)]() -> std::optional<Failure> {
    if (ends_reads()) return closed_failure();
    return work();
  });
}

// The threads are stopped once their jobs have run, because each of these has a promise to settle.
napi_value Store::close() {
  closing_ = true;
  ends_reads_ = true;
  const auto after_both = [this](Background::Job job) {
    reader_.post([this, job = std::move(job)] { background_.post(job); });
  };
  return promise([]() -> std::optional<Failure> { return std::nullopt; }, true, after_both);
}

void Store::stop_threads() {
  preparer_.stop();
  reader_.stop();
  journal_filer_.stop();
  background_.stop();
}

void Store::settle(napi_env env) {
  const auto self = shared_from_this();
  std::vector<Settled> batch;
  {
    const std::lock_guard lock(mutex_);
    batch.swap(settled_);
  }
  promises_ -= batch.size();
  if (promises_ == 0) settled_wakeup_->hold(false);
  for (Settled& settled : batch) {
    if (settled.closes) finish_close();
    if (settled.failure) {
      check(napi_reject_deferred(env, settled.deferred, make_error(env, *settled.failure)), "napi_reject_deferred");
    } else {
      check(napi_resolve_deferred(env, settled.deferred, make_undefined(env)), "napi_resolve_deferred");
    }
  }
}

void Store::finish_close() {
  check(napi_remove_env_cleanup_hook(env_, tear_down, this), "napi_remove_env_cleanup_hook");
  if (journal_) journal_->stop(false);
  stop_threads();
  journal_.reset();
  if (progress_ != nullptr) check(napi_delete_reference(env_, progress_), "napi_delete_reference");
  progress_ = nullptr;
  // Views that outlive the store keep their segments, and those the health.
  health_->listen(nullptr);
  settled_wakeup_->release();
  journal_wakeup_->release();
  lock_.release();
  self_.reset();
}

// ---- journal ----

std::optional<Failure> Store::open_journal(JournalConfig config, napi_value progress) {
  if (closing_) return closed_failure();
  if (journal_) return Failure{FailureCode::invariant_broken, "the journal of " + root_ + " is open already"};
  auto journal =
      std::make_unique<Journal>(std::move(config), journal_filer_, health_, [wakeup = journal_wakeup_] { wakeup->wake(); });
  if (auto failure = journal->start()) return failure;
  check(napi_create_reference(env_, progress, 1, &progress_), "napi_create_reference");
  journal_ = std::move(journal);
  // Somebody may be waiting for its first file.
  journal_wakeup_->hold(true);
  return std::nullopt;
}

void Store::await_ticket(uint64_t ticket) {
  if (journal_ended_ || ticket <= awaited_ticket_) return;
  awaited_ticket_ = ticket;
  if (ticket > reported_ticket_) journal_wakeup_->hold(true);
}

void Store::fail(std::string message) { health_->fail({FailureCode::disk_failed, std::move(message)}); }

void Store::stop_journal() {
  if (journal_ended_) return;
  awaits_stop_ = true;
  journal_wakeup_->hold(true);
  journal_->request_stop();
}

void Store::report_progress(napi_env env) {
  if (!journal_ || journal_ended_) return;
  const auto self = shared_from_this();
  const JournalProgress progress = journal_->progress();
  reported_ticket_ = progress.durable_ticket;
  if (progress.stopped) {
    journal_->stop(true);
    journal_ended_ = true;
  }
  if (journal_ended_ || (progress.started && !awaits_stop_ && reported_ticket_ >= awaited_ticket_)) journal_wakeup_->hold(false);

  // A sync that failed beside the journal's own ends it as well, which its thread finds out with its next group.
  const auto failure = !progress.failure && health_->failed() ? health_->failure() : progress.failure;
  napi_value stopped = nullptr;
  check(napi_get_boolean(env, progress.stopped, &stopped), "napi_get_boolean");
  napi_value started = nullptr;
  check(napi_get_boolean(env, progress.started, &started), "napi_get_boolean");
  const napi_value arguments[] = {
      make_number(env, static_cast<double>(progress.durable_ticket)),
      failure ? make_error(env, *failure) : make_undefined(env),
      stopped,
      make_number(env, static_cast<double>(progress.direct_bytes)),
      make_number(env, static_cast<double>(progress.space)),
      started,
  };
  napi_value function = nullptr;
  check(napi_get_reference_value(env, progress_, &function), "napi_get_reference_value");
  if (napi_call_function(env, make_undefined(env), function, 6, arguments, nullptr) == napi_pending_exception) {
    // Nobody up the stack can catch it: it is an uncaught exception like one of a timer's callback.
    napi_value error = nullptr;
    check(napi_get_and_clear_last_exception(env, &error), "napi_get_and_clear_last_exception");
    check(napi_fatal_exception(env, error), "napi_fatal_exception");
  }
}

// ---- exports ----

namespace {

// openStore(root, maxOpenFiles, trace | undefined) → store
napi_value open_store(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  std::string root = arguments.string(0, "root");
  StoreConfig config;
  config.max_open_files = arguments.natural(1, "maxOpenFiles");
  napi_valuetype type = napi_undefined;
  check(napi_typeof(env, arguments.value(2), &type), "napi_typeof");
  if (type != napi_undefined) {
    auto* handle = static_cast<TraceHandle*>(handle_argument(env, arguments, 2, HandleKind::trace, "trace"));
    if (handle != nullptr) config.trace = handle->trace;
    if (!kTraceable) arguments.fail("trace", "left out: this addon was built without it");
  }
  if (arguments.failed()) return nullptr;
  std::shared_ptr<Store> store;
  if (auto failure = Store::open(env, std::move(root), std::move(config), store)) {
    throw_failure(env, *failure);
    return nullptr;
  }
  return make_handle(env, new StoreHandle(std::move(store)));
}

// closeStore(store) → promise
napi_value close_store(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  if (arguments.failed()) return nullptr;
  if (handle->store->closed()) {
    throw_failure(env, {FailureCode::closed, "the data directory was closed"});
    return nullptr;
  }
  return handle->store->close();
}

// storeFailed(store) → the error that latched it, or undefined
napi_value store_failed(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  if (arguments.failed()) return nullptr;
  const Health& health = handle->store->health();
  return health.failed() ? make_error(env, health.failure()) : make_undefined(env);
}

// failStore(store, message): a write or sync outside the addon failed; nothing is synced any more
napi_value fail_store(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  std::string message = arguments.string(1, "message");
  if (arguments.failed()) return nullptr;
  handle->store->fail(std::move(message));
  return nullptr;
}

// A file whose content means nothing: it keeps space, and no trace records it. One that is longer keeps what is asked for.
std::optional<Failure> allocate_file(const std::string& path, uint64_t bytes) {
  FileDescriptor file;
  if (const int error = open_file(path, O_RDWR | O_CREAT, nullptr, file); error != 0) {
    return system_failure("open", path, error);
  }
  uint64_t present = 0;
  int error = file_size(file, present);
  if (error == 0 && present > bytes) error = truncate_file(file, bytes);
  // Also what seems to be there: a copy of a data directory may have holes.
  if (error == 0) error = allocate(file, 0, bytes);
  if (error == 0) return std::nullopt;
  (void)unlink_file(path, nullptr);
  return system_failure("fallocate", path, error);
}

// allocateFile(store, path, bytes) → promise
napi_value allocate_file_of(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  std::string path = arguments.string(1, "path");
  const uint64_t bytes = arguments.natural(2, "bytes");
  if (arguments.failed()) return nullptr;
  return handle->store->run([path = std::move(path), bytes] { return allocate_file(path, bytes); });
}

}  // namespace

void export_store(napi_env env, napi_value exports) {
  set_function(env, exports, "openStore", open_store);
  set_function(env, exports, "closeStore", close_store);
  set_function(env, exports, "storeFailed", store_failed);
  set_function(env, exports, "failStore", fail_store);
  set_function(env, exports, "allocateFile", allocate_file_of);
}

}  // namespace varve
