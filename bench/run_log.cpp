#include "bench/run_log.hpp"

#include <iostream>

#include "bench/options.hpp"
#include "bench/provenance.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {

RunLog::RunLog(const std::string& json, const std::vector<std::string>& command, const Device* device)
    : device_(device), header_(bench::header(command, device)) {
  if (!json.empty()) writer_ = std::make_unique<RecordWriter>(json, header_);
}

void RunLog::append(Json record) {
  if (!writer_) return;
  Json labelled{{"kind", record.at("kind")}, {"device_kind", device_kind(device_)}};
  labelled.update(record);
  writer_->append(labelled);
}

void RunLog::sync() {
  if (writer_) writer_->sync();
}

int RunLog::finish(std::size_t passed, std::size_t failed, std::size_t skipped,
                   const std::string& skipped_why, int exit_code, const Json& against) {
  if (interrupted()) exit_code = kInterrupted;
  if (!writer_) return exit_code;
  if (exit_code == 0 && !stdout_is_whole()) exit_code = 1;  // as run_program() will say
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  writer_->append(end(
      {writer_->count(), passed, failed, skipped, skipped_why, interrupted(), exit_code, elapsed_s, against},
      device_));
  writer_->sync();
  std::cerr << "records: " << printable(writer_->path().string()) << "\n";
  return exit_code;
}

}  // namespace m40llm::bench
