"""several images in a task"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('task', schema=None) as batch_op:
        batch_op.add_column(sa.Column('item', sa.Integer(), server_default='0', nullable=False))
        batch_op.drop_constraint(batch_op.f('uq_task_project_id_ls_id'), type_='unique')
        batch_op.create_unique_constraint(
            batch_op.f('uq_task_project_id_ls_id_item'), ['project_id', 'ls_id', 'item']
        )
    # Their tasks were remembered without images: they are read again.
    op.execute("UPDATE project SET tasks_cursor = NULL WHERE label_config LIKE '%valueList%'")


def downgrade() -> None:
    op.execute('DELETE FROM task WHERE item > 0')
    with op.batch_alter_table('task', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('uq_task_project_id_ls_id_item'), type_='unique')
        batch_op.drop_column('item')
        batch_op.create_unique_constraint(
            batch_op.f('uq_task_project_id_ls_id'), ['project_id', 'ls_id']
        )
