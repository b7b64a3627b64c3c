"""fine-tuned backbones that nothing needs any more"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('tuned', sa.Column('retired_at', sa.Double(), nullable=True))
    op.add_column('tuned', sa.Column('cleared_at', sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('tuned', schema=None) as batch_op:
        batch_op.drop_column('cleared_at')
        batch_op.drop_column('retired_at')
