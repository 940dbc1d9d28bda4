// The bytes of a file.
#include "bundle/mapped.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

Mapped::Mapped(const std::filesystem::path& file) {
    const int opened = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat found{};
    if (opened >= 0 && fstat(opened, &found) == 0 && found.st_size > 0) {
        size_ = static_cast<std::size_t>(found.st_size);
        data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, opened, 0);
    }
    const int why = errno;
    if (opened >= 0) close(opened);
    if (opened < 0 || data_ == MAP_FAILED)
        throw BundleError(cat(file.string(), ": expected a readable file, got ", std::strerror(why),
                              "; check its permissions"));
}

Mapped::~Mapped() {
    if (data_) munmap(data_, size_);
}

}  // namespace rr
